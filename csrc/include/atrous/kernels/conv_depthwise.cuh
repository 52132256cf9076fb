// conv_depthwise: one filter a channel, or several, in NHWC: rows of x stream through shared memory, each read once.
//
// Computes  y[n, p, q, k] = finish(sum over r, s of x[n, h, w, k / multiplier] * weight[k, r, s]), where
//           h = p * stride_h - pad_top + r * dilation_h and w = q * stride_w - pad_left + s * dilation_w, in float32, r
//           and s ascending, with the zeros of padding among the terms. K = multiplier * C, one channel a group.
// Layout    x, weight, residual and y through their element strides; written for NHWC. x comes by copies of 16 bytes
//           where its channels are neighbours and aligned, else element by element.
// Mapping   A block owns a slab of `lanes` pieces of 16 bytes of output channels for its whole life, and so reads their
//           weights once; it goes through items: an image, a strip of output rows, a tile of columns. A thread owns 4
//           neighbouring channels of 4 neighbouring columns: 16 sums of an output row.
//           Outputs whose windows share cells are m = dilation / gcd(stride, dilation) apart and read every
//           dilation-th row and column: a phase, which is a convolution without dilation. Items are of one phase each.
//           Window knows R, S and the stride of a phase: the sums of all outputs that hold a row of x are kept at once
//           and move on by one with every output row, so that a thread reads a row from shared memory once. AnyWindow
//           sums an output row when all its R rows are there.
// Shared    A ring of chunks, each the rows of x by which the windows advance, two or three of them under way; the
//           weights and terms of the slab as float32, channels running fastest. A cell is `cell_lanes` pieces; after
//           the cells of one thread, 4 * stride of them, stand as many empty pieces as make the step from thread to
//           thread `lanes` modulo 8. So the piece of 4 channels that a thread reads, 8 or 16 bytes, has the thread's
//           own number modulo the 128 bytes of all banks. Of weights 8 neighbours read pieces of 16 bytes that follow
//           each other, or, where a slab has fewer than 8 of them, some of them twice. With a multiplier threads read
//           single elements of x, which may meet in a bank.
// Requires  the layout NHWC; one channel a group; floats of 16 or 32 bits; K at most 2^31 - 1 - 2^16; H and W with
//           their padding below 2^31; a ring, the weights and the terms of one piece of channels in 96 KB of shared
//           memory; fewer than 2^31 items and blocks.
// Cost      2 * N*P*Q * K * R*S operations. Bytes: weight once a block; y once; x once, and again the R - stride rows
//           between strips and the S - stride columns between tiles. Of shared memory a warp reads R*S times 512 bytes
//           of weights for 512 outputs, and with stride 1 (S + 3) * 128 elements of x: at 128 bytes a clock and 128
//           products a clock 3x3, 5x5 and 7x7 of 16-bit elements take 48, 116 and 216 clocks beside 36, 100 and 196 of
//           their products; of float32 60, 132 and 236.
#pragma once

#include "atrous/depthwise_rows.cuh"
#include "atrous/depthwise_window.cuh"
#include "atrous/neighbours.cuh"

namespace atrous {

// A thread's place in its block.
struct DepthwiseThread {
  int column_lane;
  int column;       // the first of the tile
  int channel;      // its output channels from this one on
  int own_channel;  // the same of the slab

  template <class T>
  __device__ __forceinline__ static DepthwiseThread of(const DepthwiseArguments& a, int slab) {
    DepthwiseThread thread;
    using Tile = DepthwiseTile<T>;
    const int lanes = a.lanes * Tile::kShares;
    thread.column_lane = threadIdx.x / lanes;
    thread.own_channel = static_cast<int>(threadIdx.x - thread.column_lane * lanes) * Tile::kChannels;
    thread.column = thread.column_lane * Tile::kColumns;
    thread.channel = slab * a.lanes * Tile::kPiece + thread.own_channel;
    return thread;
  }

  __device__ __forceinline__ bool has_outputs(const DepthwiseArguments& a, const RowItem& item) const {
    return column < item.columns && channel < a.conv.k;
  }
};

// The sums of all outputs that hold a row of x, the youngest first: those of a step's finished output row are last.
template <class T, class Window>
struct StreamedSums {
  using Tile = DepthwiseTile<T>;
  static constexpr int kChannels = Tile::kChannels, kColumns = Tile::kColumns, kSums = Tile::kSums;
  static constexpr int kAges = Window::kAges, kStride = Window::kStride;

  DepthwiseSums value[kAges] = {};

  __device__ __forceinline__ explicit StreamedSums(const DepthwiseArguments&) {}

  __device__ __forceinline__ DepthwiseSums& finished() { return value[kAges - 1]; }

  // ring: from the thread's first cell on; weight: from its first channel on
  __device__ __forceinline__ void add_chunk(const DepthwiseArguments& a, const T* ring, const float32* weight,
                                            int chunk, bool) {
#pragma unroll
    for (int age = kAges - 1; age >= 0; --age) {
#pragma unroll
      for (int i = 0; i < kSums; ++i) value[age][i] = age == 0 ? 0.0f : value[age - 1][i];
    }
    const int pitch = a.row_pieces * Tile::kPiece;
    const T* row = ring + chunk * kStride * pitch;
    add_row<0>(a, row, weight);
    if constexpr (kStride == 2) add_row<1>(a, row + pitch, weight);
  }

  // Row number kRow of a chunk is the row age * kStride + kRow of the windows.
  template <int kRow>
  __device__ __forceinline__ void add_row(const DepthwiseArguments& a, const T* row, const float32* weight) {
    constexpr int kGroup = kColumns * kStride, kCells = (kColumns - 1) * kStride + Window::kS;
    const int channels = a.lanes * Tile::kPiece;
    Vec<T, kChannels> cell[kCells];
#pragma unroll
    for (int i = 0; i < kCells; ++i)
      cell[i] = load_vec<kChannels>(row + i / kGroup * a.group_pieces * Tile::kPiece + i % kGroup * channels);
#pragma unroll
    for (int s = 0; s < Window::kS; ++s) {
#pragma unroll
      for (int age = 0; age < kAges; ++age) {
        if (age * kStride + kRow >= Window::kR) continue;
        const int tap = (age * kStride + kRow) * Window::kS + s;
        const Vec<float32, kChannels> weights = load_vec<kChannels>(weight + tap * channels);
#pragma unroll
        for (int i = 0; i < kSums; ++i) {
          const T x = cell[i / kChannels * kStride + s].value[i % kChannels];
          value[age][i] += to_accumulator(x) * weights.value[i % kChannels];
        }
      }
    }
  }
};

// The sums of one output row, over windows of any size.
template <class T>
struct StreamedSums<T, AnyWindow> {
  using Tile = DepthwiseTile<T>;
  static constexpr int kChannels = Tile::kChannels, kColumns = Tile::kColumns, kSums = Tile::kSums;

  DepthwiseSums value;
  int place[kChannels];  // with a multiplier: where in a cell the channels' elements lie, from its first piece on

  __device__ __forceinline__ explicit StreamedSums(const DepthwiseArguments& a) {
    if (a.multiplier == 1) return;
    const int slab = blockIdx.x % a.slabs, first = slab * a.lanes * Tile::kPiece;
    const int channel = DepthwiseThread::of<T>(a, slab).channel;
    const int first_cell = first / a.multiplier / Tile::kPiece * Tile::kPiece;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) place[i] = min(channel + i, a.conv.k - 1) / a.multiplier - first_cell;
  }

  __device__ __forceinline__ DepthwiseSums& finished() { return value; }

  // ring: from the thread's first cell on; weight: from its first channel on; chunk: the last that the windows hold
  __device__ __forceinline__ void add_chunk(const DepthwiseArguments& a, const T* ring, const float32* weight,
                                            int chunk, bool is_last) {
    if (!is_last) return;
#pragma unroll
    for (int i = 0; i < kSums; ++i) value[i] = 0.0f;
    chunk -= a.lead;
    if (chunk < 0) chunk += a.ring_chunks;
    int in_chunk = 0;
#pragma unroll 1
    for (int r = 0; r < a.conv.r; ++r) {
      add_row(a, ring + (chunk * a.chunk_rows + in_chunk) * a.row_pieces * Tile::kPiece, weight, r * a.conv.s);
      if (++in_chunk == a.chunk_rows) {
        in_chunk = 0;
        if (++chunk == a.ring_chunks) chunk = 0;
      }
    }
  }

  __device__ __forceinline__ void add_row(const DepthwiseArguments& a, const T* row, const float32* weight, int tap) {
    const int channels = a.lanes * Tile::kPiece;
    int cell = 0;  // of the group of cells
#pragma unroll 1
    for (int s = 0; s < a.conv.s; ++s) {
      const Vec<float32, kChannels> weights = load_vec<kChannels>(weight + (tap + s) * channels);
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        const int passed = cell + column * a.column_stride, next = passed >= a.group_cells;
        const T* source =
            row + (next * (a.group_pieces - a.group_cells * a.cell_lanes) + passed * a.cell_lanes) * Tile::kPiece;
        if (a.multiplier == 1) {
          const Vec<T, kChannels> x = load_vec<kChannels>(source);
#pragma unroll
          for (int i = 0; i < kChannels; ++i)
            value[column * kChannels + i] += to_accumulator(x.value[i]) * weights.value[i];
        } else {
#pragma unroll
          for (int i = 0; i < kChannels; ++i)
            value[column * kChannels + i] += to_accumulator(source[place[i]]) * weights.value[i];
        }
      }
      if (++cell == a.group_cells) {
        cell = 0;
        row += a.group_pieces * Tile::kPiece;
      }
    }
  }
};

// Where the outputs of a thread's columns lie in an array: of each its channels, and from column to column `step`.
struct ColumnPlaces {
  Neighbours first;
  int64 step;
  int count;  // columns that exist
};

// base: an array whose element type visit_type() hands over; value: [kColumns][kChannels]
struct LoadColumns {
  const void* base;
  const ColumnPlaces& places;
  DepthwiseSums& value;

  template <class E>
  __device__ __forceinline__ void operator()(Element<E> element) const {
    Neighbours place = places.first;
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      float32 part[4] = {};
      if (column < places.count) LoadNeighbours<float32, 4>{base, place, part}(element);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[column * 4 + i] = part[i];
      place.offset += places.step;
    }
  }
};

// The same for a store.
struct StoreColumns {
  void* base;
  const ColumnPlaces& places;
  const DepthwiseSums& value;

  template <class E>
  __device__ __forceinline__ void operator()(Element<E> element) const {
    Neighbours place = places.first;
#pragma unroll
    for (int column = 0; column < 4; ++column) {
      float32 part[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) part[i] = value[column * 4 + i];
      if (column < places.count) StoreNeighbours<float32, 4>{base, place, part}(element);
      place.offset += places.step;
    }
  }
};

// Where a thread's outputs go.
template <class T>
struct DepthwiseOutput {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels, kColumns = DepthwiseTile<T>::kColumns;

  const DepthwiseArguments& a;
  const DepthwiseThread& thread;
  const float32* scale;  // [kChannels], shared
  const float32* bias;   // [kChannels], shared
  bool y_whole, residual_whole;

  __device__ __forceinline__ DepthwiseOutput(const DepthwiseArguments& a, const DepthwiseThread& thread,
                                             const DepthwiseShared<T>& shared)
      : a(a),
        thread(thread),
        scale(shared.scale + thread.own_channel),
        bias(shared.bias + thread.own_channel),
        y_whole(has_pieces(a.conv.y, a.conv.y_stride)),
        residual_whole(a.conv.residual != nullptr && has_pieces(a.conv.residual, a.conv.residual_stride)) {}

  // Whether the thread's channels of every pixel all exist and are neighbours in an array, aligned to their pieces.
  __device__ __forceinline__ bool has_pieces(const void* base, const int64 (&stride)[4]) const {
    const int size = bytes_of(static_cast<DataType>(a.conv.epilogue.y_type));
    return thread.channel + kChannels <= a.conv.k && lie_in_pieces(base, stride, size, thread.channel, kChannels);
  }

  __device__ __forceinline__ ColumnPlaces places(const RowItem& item, int row, const int64 (&stride)[4],
                                                 bool whole) const {
    const int64 n = item.image, p = item.first_p + row * a.apart_h, q = item.first_q + thread.column * a.apart_w;
    const int64 offset = n * stride[0] + p * stride[1] + q * stride[2] + thread.channel * stride[3];
    return {{offset, stride[3], 0, a.conv.k - thread.channel, whole},
            a.apart_w * stride[2],
            min(item.columns - thread.column, kColumns)};
  }

  // What finish_values() adds. The residual is read by the thread that writes the same outputs.
  struct Terms {
    const DepthwiseOutput& output;
    const RowItem& item;
    int row;

    __device__ __forceinline__ void scale(DepthwiseSums& term) const { take(output.scale, term); }
    __device__ __forceinline__ void bias(DepthwiseSums& term) const { take(output.bias, term); }
    __device__ __forceinline__ void residual(DepthwiseSums& term) const {
      const ConvArguments& conv = output.a.conv;
      const ColumnPlaces places = output.places(item, row, conv.residual_stride, output.residual_whole);
      visit_type(static_cast<DataType>(conv.epilogue.y_type), LoadColumns{conv.residual, places, term});
    }

    __device__ __forceinline__ static void take(const float32* terms, DepthwiseSums& term) {
      const Vec<float32, kChannels> piece = load_vec<kChannels>(terms);
#pragma unroll
      for (int i = 0; i < kColumns * kChannels; ++i) term[i] = piece.value[i % kChannels];
    }
  };

  // Finishes an output row of the item.
  __device__ __forceinline__ void write(const RowItem& item, int row, DepthwiseSums& sums) const {
    const ConvArguments& conv = a.conv;
    finish_values(conv, sums, Terms{*this, item, row});
    const ColumnPlaces y = places(item, row, conv.y_stride, y_whole);
    visit_type(static_cast<DataType>(conv.epilogue.y_type), StoreColumns{conv.y, y, sums});
  }
};

template <class T, class Window>
__global__ void __launch_bounds__(Window::kThreads, Window::kBlocks)
    conv_depthwise(const __grid_constant__ DepthwiseArguments a) {
  constexpr int kPiece = DepthwiseTile<T>::kPiece;
  const DepthwiseShared<T> shared(a);
  const int slab = blockIdx.x % a.slabs, first_k = slab * shared.channels;
  RowLoader<T> loader(a, shared.ring, first_k / a.multiplier / kPiece * kPiece);
#pragma unroll 1
  for (int i = 0; i < Window::kAhead; ++i) loader.start_next();
  load_slab(a, shared, first_k);
  const DepthwiseThread thread = DepthwiseThread::of<T>(a, slab);
  const DepthwiseOutput<T> output(a, thread, shared);
  const T* ring =
      shared.ring + thread.column_lane * a.group_pieces * kPiece + (a.multiplier == 1 ? thread.own_channel : 0);
  const float32* weight = shared.weight + thread.own_channel;
  StreamedSums<T, Window> sums(a);
  int chunk = 0;
#pragma unroll 1
  for (ItemWalk<DepthwiseArguments> walk(a); walk.steps > 0; walk.advance()) {
    prims::wait_copies<Window::kAhead - 1>();
    prims::sync_block();  // the chunk is there; the one whose place the next takes is summed
    loader.start_next();
    if (thread.has_outputs(a, walk.item)) {
      const bool gives_row = walk.step >= a.lead;
      sums.add_chunk(a, ring, weight, chunk, gives_row);
      if (gives_row) output.write(walk.item, walk.step - a.lead, sums.finished());
    }
    if (++chunk == a.ring_chunks) chunk = 0;
  }
}

}  // namespace atrous
