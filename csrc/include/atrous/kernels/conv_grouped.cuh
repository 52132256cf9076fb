// conv_grouped: 4 to 31 channels a group in NHWC on tensor cores: rows of x stream by, and each is read once.
//
// Computes  y[n, p, q, k] = finish(sum over r, s, c of x[n, h, w, g * C/G + c] * weight[k, r, s, c]), where
//           h = p * stride_h - pad_top + r * dilation_h and w = q * stride_w - pad_left + s * dilation_w, in float32,
//           r ascending, with the zeros of padding among the terms; g = k / (K/G) is the group of k.
// Layout    x, residual and y through their element strides; written for NHWC. x comes by copies of 16 bytes where the
//           channels of every group are neighbours, aligned and a multiple of 8, of 8 bytes where they are a multiple
//           of 4, else element by element; y leaves and residual comes alike. weight as rows [K][R][S][C/G], C/G padded
//           with zeros to pieces of 16 bytes; of GroupsOf4 [K][R][4 taps][4], the last tap zero.
// Mapping   A block owns a slab of output channels for its whole life, and goes through items: an image, a strip of
//           output rows, a tile of columns. A warp owns 32 neighbouring columns of 16 neighbouring channels, and keeps
//           their weights in registers. Its fragments of x are read straight from the staged row: a row of an ldmatrix
//           is a pixel's piece of 8 channels, the tap s a pixel further. The sums of all outputs that hold a row of x
//           are kept at once and move on by one with every output row, so that a fragment read once meets the weights
//           of all its filter rows. What multiplies x of one group never stands in one product with x of another: its
//           NaN and infinities reach no other group. Outputs whose windows share cells are m = dilation / gcd(stride,
//           dilation) apart: a phase, which is a convolution without dilation. Items are of one phase each.
// Shared    A ring of chunks, each the rows of x by which the windows advance, two or three of them under way; before
//           it, in the same place, the weights. Pieces change places within a cell, so that ldmatrix meets no bank
//           twice; of a stride of 2 the 8 bytes of 9 pixels that half a warp reads of GroupsOf4 do. The sums of a warp
//           cross 2 KB of its own on their way out; scale and bias as float32.
// Requires  sm_80; the layout NHWC; floats of 16 bits; two groups or more, of 4 to 31 channels each; 3x3 windows; the
//           stride of a phase 1 or 2; C and K at most 2^31 - 1 - 2^16; H and W with their padding below 2^31; fewer
//           than 2^31 items and blocks.
// Cost      2 * N*P*Q * K * R*S * C/G operations, which take 4/3 (GroupsOf8), 1 (GroupsOf16, GroupsOf32) or 10/9
//           (GroupsOf24) times as many of the tensor cores, GroupsOf4 8/3; as many again as 16 columns and 8 channels
//           are not filled.
//           Bytes: weight once a block; y once; x once, and again the R - stride rows between strips and the S - stride
//           columns between tiles, and sectors where slabs meet within one. Of filters that are an odd multiple of 4 a
//           group, y leaves by 8 bytes: its sectors are asked for two or three times.
#pragma once

#include "atrous/grouped_rows.cuh"
#include "atrous/mma_types.cuh"
#include "atrous/neighbours.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/warp_output.cuh"

namespace atrous {

// What a block has in dynamic shared memory.
struct GroupedShared {
  uint8* front;    // the weights, [slab_tiles * 8] rows; then the ring
  float32* stage;  // [warps][kWarpStage]
  float32* scale;  // [slab_tiles * 8]
  float32* bias;   // [slab_tiles * 8]

  __device__ __forceinline__ explicit GroupedShared(const GroupedArguments& a)
      : front(prims::dynamic_shared()),
        stage(reinterpret_cast<float32*>(front + a.front_bytes)),
        scale(stage + blockDim.x / 32 * kWarpStage),
        bias(scale + a.slab_tiles * kTileChannels) {}

  template <class Groups>
  __device__ __forceinline__ void load_terms(const GroupedArguments& a, int slab) const {
    const ConvArguments& conv = a.conv;
    for (int i = threadIdx.x; i < a.slab_tiles * kTileChannels; i += blockDim.x) {
      const TileChannels channels = channels_of<Groups>(a, slab * a.slab_tiles + i / kTileChannels);
      const int k = channels.first + i % kTileChannels;
      const auto term = [&](const void* terms, int type) {
        return i % kTileChannels < channels.count ? load_real<float32>(terms, static_cast<DataType>(type), k) : 0.0f;
      };
      if (conv.scale != nullptr) scale[i] = term(conv.scale, conv.epilogue.scale_type);
      if (conv.bias != nullptr) bias[i] = term(conv.bias, conv.epilogue.bias_type);
    }
  }
};

// A warp's place in its block.
struct GroupedWarp {
  int own_tile, tile;  // its first tile, of the slab and of all
  int column;          // its first column of the item

  __device__ __forceinline__ GroupedWarp(const GroupedArguments& a, int slab) {
    const int warp = static_cast<int>(threadIdx.x) / 32, across = a.slab_tiles / kGroupedTiles;
    column = warp / across * kGroupedPixels;
    own_tile = warp % across * kGroupedTiles;
    tile = slab * a.slab_tiles + own_tile;
  }
};

// The weights of a warp's tiles, as products take them.
template <class Groups>
struct GroupedWeights {
  unsigned value[kGroupedWindow][Groups::kSteps][kGroupedTiles][1][2];

  // weight: rows in shared memory, from the warp's first tile on
  __device__ __forceinline__ explicit GroupedWeights(const uint8* weight) {
    constexpr int kPitch = kGroupedWeightPitch<Groups> * 16;
    const int lane = prims::lane_id();
#pragma unroll
    for (int r = 0; r < kGroupedWindow; ++r) {
#pragma unroll
      for (int tile = 0; tile < kGroupedTiles; ++tile) {
        const uint8* rows = weight + tile * kTileChannels * kPitch + r * Groups::kRowPieces * 16;
        if constexpr (Groups::kHalves) {
          const auto* own = reinterpret_cast<const unsigned*>(rows + lane / 4 * kPitch + lane % 4 * 8);
          const Vec<unsigned, 2> taps = load_vec<2>(own);
          value[r][0][tile][0][0] = taps.value[0];
          value[r][0][tile][0][1] = taps.value[1];
        } else {
          load_steps(value[r], tile, rows + lane % 8 * kPitch, lane / 8 % 2);
        }
      }
    }
  }

  // row: of the output channel that is the lane's among the rows of a matrix
  __device__ __forceinline__ static void load_steps(unsigned (&steps)[Groups::kSteps][kGroupedTiles][1][2], int tile,
                                                    const uint8* row, int half) {
#pragma unroll
    for (int step = 0; step < Groups::kSteps; ++step) {
      if (2 * step + 1 < Groups::kRowPieces) {
        prims::load_matrix(steps[step][tile][0], row + (2 * step + half) * 16);
      } else {
        unsigned last[1];
        prims::load_matrix(last, row + 2 * step * 16);
        steps[step][tile][0][0] = last[0];
        steps[step][tile][0][1] = 0;
      }
    }
  }
};

// Where a lane finds x of its warp's products in a staged row.
template <class Groups>
struct GroupedReader {
  static constexpr int kSteps = Groups::kSteps;
  int offset[Groups::kUnits][kSteps];  // bytes, of the first 16 pixels
  int next;                            // bytes from 16 pixels to the next 16

  __device__ __forceinline__ GroupedReader(const GroupedArguments& a, const GroupedWarp& warp, int first_piece)
      : next(16 * a.cell_pieces * 16) {
    const int lane = prims::lane_id();
#pragma unroll
    for (int unit = 0; unit < Groups::kUnits; ++unit) {
      const int number = Groups::kHalves ? 2 * warp.tile + unit : warp.tile + unit;
      const int group = min(number / a.group_units, a.conv.groups - 1);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        // Of a tap past the last one, and of a piece past it, nothing is read.
        const int depth = min(2 * step + lane / 16, Groups::kRowPieces - 1);
        const int s = Groups::kHalves ? min(lane % 4, kGroupedWindow - 1) : depth / Groups::kPieces;
        const int pixel = warp.column + (Groups::kHalves ? lane / 4 : lane % 16);
        const int piece = Groups::kHalves ? group / 2 : group * Groups::kPieces + depth % Groups::kPieces;
        const int place = grouped_place(a, grouped_cell(a, s) + pixel, piece - first_piece);
        offset[unit][step] = place * 16 + (Groups::kHalves ? group % 2 * 8 : 0);
      }
    }
  }

  // row: staged; number: of 16 pixels
  __device__ __forceinline__ void read(const uint8* row, int unit, int number, unsigned (&x)[kSteps][1][4]) const {
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      const uint8* source = row + number * next + offset[unit][step];
      unsigned (&fragment)[4] = x[step][0];
      if constexpr (Groups::kHalves) {
        // 4 channels of a tap are the depths 2 t and 2 t + 1, 8 + 2 t and 9 + 2 t of lane t: so too of the weights.
        Vec<unsigned, 2> first = {}, second = {};
        if (prims::lane_id() % 4 < kGroupedWindow) {
          first = load_vec<2>(reinterpret_cast<const unsigned*>(source));
          second = load_vec<2>(reinterpret_cast<const unsigned*>(source + next / 2));
        }
        fragment[0] = first.value[0];
        fragment[1] = second.value[0];
        fragment[2] = first.value[1];
        fragment[3] = second.value[1];
      } else if (2 * step + 1 < Groups::kRowPieces) {
        prims::load_matrix(fragment, source);
      } else {
        unsigned half[2];
        prims::load_matrix(half, source);
        fragment[0] = half[0];
        fragment[1] = half[1];
        fragment[2] = fragment[3] = 0;
      }
    }
  }
};

// The sums of all outputs that hold a row of x, the youngest first: those of a step's finished output row are last.
template <class Mma, class Groups, int kStride>
struct GroupedSums {
  static constexpr int kAges = ceil_divide(kGroupedWindow, kStride);

  float32 value[kGroupedPixels / 16][Groups::kUnits][kAges][4] = {};

  // rows: a chunk of the ring; number: of 16 pixels
  __device__ __forceinline__ void add_chunk(const GroupedReader<Groups>& reader, const GroupedWeights<Groups>& weights,
                                            const uint8* rows, int row_bytes, int number) {
#pragma unroll
    for (int unit = 0; unit < Groups::kUnits; ++unit) {
#pragma unroll
      for (int age = kAges - 1; age >= 0; --age) {
#pragma unroll
        for (int e = 0; e < 4; ++e) value[number][unit][age][e] = age == 0 ? 0.0f : value[number][unit][age - 1][e];
      }
#pragma unroll
      for (int row = 0; row < kStride; ++row) {
        unsigned x[Groups::kSteps][1][4];
        reader.read(rows + row * row_bytes, unit, number, x);
        add_row(x, weights, row, unit, value[number][unit]);
      }
    }
  }

  // Row number `row` of a chunk is the row age * kStride + row of the windows.
  __device__ __forceinline__ static void add_row(const unsigned (&x)[Groups::kSteps][1][4],
                                                 const GroupedWeights<Groups>& weights, int row, int unit,
                                                 float32 (&sum)[kAges][4]) {
    const int tile = Groups::kHalves ? unit / 2 : unit;
#pragma unroll
    for (int step = 0; step < Groups::kSteps; ++step) {
#pragma unroll
      for (int age = kAges - 1; age >= 0; --age) {
        const int r = age * kStride + row;
        if (r < kGroupedWindow) Mma::add(sum[age], x[step], weights.value[r][step][tile]);
      }
    }
  }

  // The finished outputs of 16 pixels. Of halves of a tile each lane takes the one that is its columns'.
  __device__ __forceinline__ void take(int number, float32 (&sum)[1][kGroupedTiles][4]) const {
    const bool upper = prims::lane_id() % 4 >= 2;
#pragma unroll
    for (int tile = 0; tile < kGroupedTiles; ++tile) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if constexpr (Groups::kHalves) {
          const float32 low = value[number][2 * tile][kAges - 1][e], high = value[number][2 * tile + 1][kAges - 1][e];
          sum[0][tile][e] = upper ? high : low;
        } else {
          sum[0][tile][e] = value[number][tile][kAges - 1][e];
        }
      }
    }
  }
};

// Where a warp's outputs go. A lane finishes one of its tiles, of every 16th pixel two neighbouring lanes.
struct GroupedOutput {
  static constexpr int kCount = kTileChannels, kHalf = kCount / 2;

  const GroupedArguments& a;
  float32* stage;                  // [kWarpStage], shared, this warp's alone
  const float32 *scale, *bias;     // [8] of the lane's tile, shared
  TileChannels channels;           // of the lane's tile
  int column;                      // the warp's first
  bool y_whole, residual_whole;    // the tile's channels are neighbours, aligned to their pieces
  bool y_halved, residual_halved;  // those of its halves are

  __device__ __forceinline__ GroupedOutput(const GroupedArguments& a, const GroupedShared& shared,
                                           const GroupedWarp& warp, int tile, const TileChannels& channels)
      : a(a),
        stage(shared.stage + threadIdx.x / 32 * kWarpStage),
        scale(shared.scale + tile * kCount),
        bias(shared.bias + tile * kCount),
        channels(channels),
        column(warp.column),
        y_whole(has_pieces(a.conv.y, a.conv.y_stride, kCount)),
        residual_whole(a.conv.residual != nullptr && has_pieces(a.conv.residual, a.conv.residual_stride, kCount)),
        y_halved(has_pieces(a.conv.y, a.conv.y_stride, kHalf)),
        residual_halved(a.conv.residual != nullptr && has_pieces(a.conv.residual, a.conv.residual_stride, kHalf)) {}

  __device__ __forceinline__ DataType y_type() const { return static_cast<DataType>(a.conv.epilogue.y_type); }

  // Whether so many channels, and those behind them, all exist and are neighbours in an array, aligned to their pieces.
  __device__ __forceinline__ bool has_pieces(const void* base, const int64 (&stride)[4], int count) const {
    return channels.count % count == 0 && lie_in_pieces(base, stride, bytes_of(y_type()), channels.first, count);
  }

  // pixel: of the item's row
  __device__ __forceinline__ Neighbours place(const RowItem& item, int row, int pixel, const int64 (&stride)[4],
                                              bool whole) const {
    const int64 n = item.image, p = item.first_p + row * a.apart_h, q = item.first_q + pixel * a.apart_w;
    const int64 offset = n * stride[0] + p * stride[1] + q * stride[2] + channels.first * stride[3];
    return {offset, stride[3], 0, channels.count, whole};
  }

  // What finish_values() adds. The residual is read by the lane that writes the same outputs.
  struct Terms {
    const GroupedOutput& output;
    const RowItem& item;
    int row, pixel;

    __device__ __forceinline__ void scale(float32 (&term)[kCount]) const { take(output.scale, term); }
    __device__ __forceinline__ void bias(float32 (&term)[kCount]) const { take(output.bias, term); }
    __device__ __forceinline__ void residual(float32 (&term)[kCount]) const {
      const ConvArguments& conv = output.a.conv;
      const Neighbours at = output.place(item, row, pixel, conv.residual_stride, output.residual_whole);
      if (!output.residual_whole && output.residual_halved) {
        output.load_half(at, term, 0);
        output.load_half(at, term, kHalf);
      } else {
        visit_type(output.y_type(), LoadNeighbours<float32, kCount>{conv.residual, at, term});
      }
    }
  };

  // A half of the tile, from its channel `first` on, if it has that.
  __device__ __forceinline__ void load_half(const Neighbours& at, float32 (&term)[kCount], int first) const {
    float32 half[kHalf] = {};
    const Neighbours own = {at.offset + first, 1, 0, kHalf, true};
    if (first < channels.count) visit_type(y_type(), LoadNeighbours<float32, kHalf>{a.conv.residual, own, half});
#pragma unroll
    for (int i = 0; i < kHalf; ++i) term[first + i] = half[i];
  }
  __device__ __forceinline__ void store_half(const Neighbours& at, const float32 (&value)[kCount], int first) const {
    const float32 half[kHalf] = {value[first], value[first + 1], value[first + 2], value[first + 3]};
    const Neighbours own = {at.offset + first, 1, 0, kHalf, true};
    if (first < channels.count) visit_type(y_type(), StoreNeighbours<float32, kHalf>{a.conv.y, own, half});
  }

  // source: [8], shared
  __device__ __forceinline__ static void take(const float32* source, float32 (&value)[kCount]) {
    take_half(source, value, 0);
    take_half(source + 4, value, 4);
  }
  __device__ __forceinline__ static void take_half(const float32* source, float32 (&value)[kCount], int first) {
    const Vec<float32, 4> piece = load_vec<4>(source);
#pragma unroll
    for (int i = 0; i < 4; ++i) value[first + i] = piece.value[i];
  }

  // sum: of 16 pixels, as mma leaves it
  __device__ __forceinline__ void put(int number, const float32 (&sum)[1][kGroupedTiles][4]) const {
    stage_sums(sum, stage + number * 16 * kGroupedTiles * kCount, 0, false);
  }

  // Finishes an output row of the item, which all lanes have put into the stage.
  __device__ __forceinline__ void write(const RowItem& item, int row) const {
    const ConvArguments& conv = a.conv;
    prims::sync_warp();
#pragma unroll 1
    for (int turn = 0; turn < kGroupedPixels / 16; ++turn) {
      const int run = prims::lane_id() + kWarpLanes * turn, pixel = column + run / kGroupedTiles;
      if (pixel >= item.columns || channels.count == 0) break;
      float32 value[kCount];
      take_half(stage + staged(kCount * run, 0), value, 0);
      take_half(stage + staged(kCount * run + 4, 0), value, 4);
#pragma unroll
      for (int i = 0; i < kCount; ++i) value[i] += 0.0f;  // -0 is 0
      finish_values(conv, value, Terms{*this, item, row, pixel});
      const Neighbours y = place(item, row, pixel, conv.y_stride, y_whole);
      if (!y_whole && y_halved) {
        store_half(y, value, 0);
        store_half(y, value, kHalf);
      } else {
        visit_type(y_type(), StoreNeighbours<float32, kCount>{conv.y, y, value});
      }
    }
    prims::sync_warp();  // the stage is taken: the next row may be put into it
  }
};

template <class Mma, class Groups, int kStride>
__global__ void __launch_bounds__(kGroupedThreads, Groups::kBlocks)
    conv_grouped(const __grid_constant__ GroupedArguments a) {
  using Loader = GroupedLoader<typename Mma::Element, Groups, kStride>;
  const GroupedShared shared(a);
  const int slab = blockIdx.x % a.slabs;
  const GroupedWarp warp(a, slab);
  start_grouped_weights<Groups>(a, shared.front, slab);
  shared.load_terms<Groups>(a, slab);
  prims::wait_copies<0>();
  prims::sync_block();
  const GroupedWeights<Groups> weights(shared.front + warp.own_tile * kTileChannels * kGroupedWeightPitch<Groups> * 16);
  prims::sync_block();  // every warp has its weights: the ring may overwrite them
  Loader loader(a, shared.front, slab);
#pragma unroll 1
  for (int i = 0; i < Loader::kAhead; ++i) loader.start_next();
  const int lane_tile = prims::lane_id() % kGroupedTiles;
  const GroupedOutput output(a, shared, warp, warp.own_tile + lane_tile, channels_of<Groups>(a, warp.tile + lane_tile));
  const GroupedReader<Groups> reader(a, warp, first_piece_of<Groups>(a, slab));
  GroupedSums<Mma, Groups, kStride> sums;
  const int row_bytes = grouped_row_bytes(a);
  int chunk = 0;
#pragma unroll 1
  for (ItemWalk<GroupedArguments> walk(a); walk.steps > 0; walk.advance()) {
    prims::wait_copies<Loader::kAhead - 1>();
    prims::sync_block();  // the chunk is there; the one whose place the next takes is summed
    loader.start_next();
    const bool gives_row = walk.step >= a.lead;
#pragma unroll
    for (int number = 0; number < kGroupedPixels / 16; ++number) {
      if (warp.column + 16 * number >= walk.item.columns) continue;
      sums.add_chunk(reader, weights, shared.front + chunk * kStride * row_bytes, row_bytes, number);
      float32 sum[1][kGroupedTiles][4];
      sums.take(number, sum);
      if (gives_row) output.put(number, sum);
    }
    if (gives_row && warp.column < walk.item.columns) output.write(walk.item, walk.step - a.lead);
    if (++chunk == Loader::kRing) chunk = 0;
  }
}

}  // namespace atrous
