// conv_separable: a depthwise convolution and the 1x1 of what it gives in one kernel, the latter on tensor cores.
//
// Computes  y[n, p, q, k] = epilogue(sum over c of T(depthwise_epilogue(sum over r, s of x[n, p*stride_h - top +
//           r*dilation_h, q*stride_w - left + s, c] * depthwise_weight[r, s, c])) * weight[k, c]): the inner sums are
//           conv_depthwise's in its order, rounded to T, the element type of x, and the outer ones conv_igemm_sm80's in
//           its order. So the bits are those of the two kernels.
// Layout    x, residual and y through their element strides; x by copies of 16 bytes where its channels are dense and
//           all its pixels start on them, else by elements. depthwise_weight is [R, S, C] and weight [K][C], rows of
//           pieces.
// Mapping   A block owns 64 output pixels of an image, 8 x 8 up to 1 x 64, and all K output channels. It goes through
//           the channels by slices of 32, a step of the GEMM: 128 threads compute the depthwise of a slice, each of 4
//           neighbouring channels of 4 neighbouring columns, and all warps multiply the slice before it meanwhile. Of
//           256 threads the halves take turns. Outputs of the same column modulo 4 are neighbouring rows of the GEMM's
//           tile, so that what one instruction stores falls on different banks; where a tile passes the image's edge,
//           the outputs that exist come first.
// Shared    Twice the stages of a slice, x rounded in between and weights; twice the halo of a slice, the cells that
//           its windows hold, and its taps' weights; where each cell comes from; scales and biases. After the 4 *
//           stride_w cells of a group of columns stands an empty one, so that neighbouring groups read different halves
//           of the banks. At the end the sums of every warp in place of the stages. At most 96 KB.
// Requires  16-bit floats in NHWC, and the depthwise's outputs of the same type; K from 1 to the columns of the largest
//           tile, 128; S of 3, 5 or 7 with stride_w of 1 or 2 and no dilation of columns; one filter a channel; what
//           conv_depthwise and conv_igemm_sm80 require of the two; gemm_k of one segment; padded extents below 2^30;
//           the halo in shared memory; fewer than 2^31 blocks.
// Cost      2 * N*P*Q * C * (R*S + K) operations. Bytes: x once and again the R - stride rows and S - stride columns
//           between blocks, 1.56 times for 8 x 8 pixels of 3 x 3; y once; from L2 the weights for every 64 pixels.
//           Neither written nor read again are the N*P*Q*C elements between the two.
#pragma once

#include "atrous/gemm_loader.cuh"
#include "atrous/separable_arguments.hpp"
#include "atrous/warp_output.cuh"

namespace atrous {

using Tile64x128 = GemmTile<64, 128, 32, 32, 2>;

constexpr int kSliceThreads = 128;  // that compute a slice: 16 groups of 4 columns times 8 of 4 channels
constexpr int kSliceChannels = 32;  // of 16 bits, a step of the GEMM
constexpr int kSlicePiece = 8;      // channels of 16 bytes
constexpr int kSliceSums = 4 * 4;   // of a thread: [columns][channels]

// Teams of threads that compute slices in turn.
template <class Tile>
constexpr int kTeams = Tile::kThreads / kSliceThreads;

// Where a cell of the halo comes from, and where in a slice it is staged.
struct alignas(16) SourceCell {
  int64 offset;  // elements from x to its channel 0
  int place;
  int exists;  // 0: it is zero
};

// The share of one block: outputs of one image, all of their channels.
struct SeparableBlock {
  int image, first_p, first_q, rows, columns;
  int first_column, column_end;

  __device__ __forceinline__ static SeparableBlock of(const SeparableArguments& a) {
    const ConvArguments& conv = a.gemm.conv;
    const unsigned in_image = static_cast<unsigned>(a.row_tiles) * a.column_tiles;
    const unsigned rest = blockIdx.x % in_image;
    SeparableBlock block = {static_cast<int>(blockIdx.x / in_image), 0, 0, 0, 0, 0, conv.k};
    block.first_p = static_cast<int>(rest / a.column_tiles) * (16 >> a.groups_log2);
    block.first_q = static_cast<int>(rest % a.column_tiles) * (4 << a.groups_log2);
    block.rows = min(16 >> a.groups_log2, conv.p - block.first_p);
    block.columns = min(4 << a.groups_log2, conv.q - block.first_q);
    return block;
  }

  // Columns that exist and are `phase` modulo 4.
  __device__ __forceinline__ int in_phase(int phase) const { return (columns - phase + 3) / 4; }

  struct Output {
    int row, column;
  };

  // The output that a row of the GEMM's tile is.
  __device__ __forceinline__ Output output(int pixel) const {
    int phase = 0;
    for (; pixel >= rows * in_phase(phase); ++phase) pixel -= rows * in_phase(phase);
    const int row = pixel / in_phase(phase);
    return {row, 4 * (pixel - row * in_phase(phase)) + phase};
  }
};

// What a block has in dynamic shared memory.
template <class Mma, class Tile>
struct SeparableShared {
  using T = typename Mma::Element;
  struct Output {
    OutputPlace place[Tile::kPixels];
    typename Mma::Sum stage[Tile::kWarps][kWarpStageElements<Tile::kM, Tile::kN>];
  };
  union Working {
    GemmStage<Mma, Tile> stage[2];
    Output output;
  };

  Working& working;
  SourceCell* cells;  // [halo_rows, halo_columns]
  float32* scale;     // [steps * kSliceChannels]
  float32* bias;      // [steps * kSliceChannels]
  T* halo;            // [2] slots of [slice_cells] cells and [R * S] weights of kSliceChannels each
  int steps, slot;    // of gemm_k; elements of a slot

  __device__ __forceinline__ explicit SeparableShared(const SeparableArguments& a)
      : working(*reinterpret_cast<Working*>(prims::dynamic_shared())),
        cells(reinterpret_cast<SourceCell*>(&working + 1)),
        scale(reinterpret_cast<float32*>(cells + a.halo_rows * a.halo_columns)),
        steps(ceil_divide(a.gemm.tap_pieces, kStepPieces)),
        slot((a.slice_cells + a.r * a.s) * kSliceChannels) {
    bias = scale + steps * kSliceChannels;
    halo = reinterpret_cast<T*>(bias + steps * kSliceChannels);
  }

  __device__ __forceinline__ T* slot_of(int step) const { return halo + step % 2 * slot; }
  __device__ __forceinline__ GemmStage<Mma, Tile>& stage_of(int step) const { return working.stage[step % 2]; }
};

// What no window of an output that exists holds is zero.
template <class Tile>
__device__ __forceinline__ void set_cells(const SeparableArguments& a, const SeparableBlock& block, SourceCell* cells) {
  const PaddingMode mode = static_cast<PaddingMode>(a.padding_mode);
  const int64(&stride)[4] = a.gemm.conv.x_stride;
  const int first_h = block.first_p * a.stride_h - a.pad_top, first_w = block.first_q * a.stride_w - a.pad_left;
  const int held_rows = (block.rows - 1) * a.stride_h + (a.r - 1) * a.dilation_h + 1;
  const int held_columns = (block.columns - 1) * a.stride_w + a.s;
  for (int cell = threadIdx.x; cell < a.halo_rows * a.halo_columns; cell += Tile::kThreads) {
    const int row = cell / a.halo_columns, column = cell - row * a.halo_columns;
    const int h = row < held_rows ? source_coordinate(mode, first_h + row, a.h) : -1;
    const int w = column < held_columns ? source_coordinate(mode, first_w + column, a.w) : -1;
    const bool exists = h >= 0 && w >= 0;
    const int64 offset = exists ? block.image * stride[0] + h * stride[1] + w * stride[2] : 0;
    const int place = row * a.row_cells + column + column / (4 * a.stride_w);
    prims::store_whole(cells + cell, SourceCell{offset, place, exists});
  }
}

template <class Mma, class Tile>
__device__ __forceinline__ void load_terms(const SeparableArguments& a, const SeparableShared<Mma, Tile>& shared) {
  const Epilogue& epilogue = a.depthwise_epilogue;
  const auto term = [&](const void* terms, int type, int channel) {
    return channel < a.gemm.conv.c ? load_real<float32>(terms, static_cast<DataType>(type), channel) : 0.0f;
  };
  for (int channel = threadIdx.x; channel < shared.steps * kSliceChannels; channel += Tile::kThreads) {
    if (a.depthwise_scale != nullptr) shared.scale[channel] = term(a.depthwise_scale, epilogue.scale_type, channel);
    if (a.depthwise_bias != nullptr) shared.bias[channel] = term(a.depthwise_bias, epilogue.bias_type, channel);
  }
}

// The rows of the GEMM past the outputs that exist, in both stages: no slice writes there.
template <class Mma, class Tile>
__device__ __forceinline__ void clear_rows(const SeparableBlock& block, const SeparableShared<Mma, Tile>& shared) {
  const int first = block.rows * block.columns * kStepPieces;
  for (int piece = first + threadIdx.x; piece < Tile::kPixels * kStepPieces; piece += Tile::kThreads) {
#pragma unroll
    for (int stage = 0; stage < 2; ++stage)
      store_vec(reinterpret_cast<unsigned*>(shared.stage_of(stage).x[piece]), Vec<unsigned, 4>{});
  }
}

// Whether x comes in pieces of 16 bytes.
__device__ __forceinline__ bool comes_in_pieces(const ConvArguments& a) {
  return is_aligned(a.x, 16) && a.x_stride[3] == 1 && a.c % kSlicePiece == 0 && a.x_stride[0] % kSlicePiece == 0 &&
         a.x_stride[1] % kSlicePiece == 0 && a.x_stride[2] % kSlicePiece == 0;
}

// Starts to copy a slice: its halo, and the weights of its taps. A thread copies one piece of several cells and taps.
template <class Mma, class Tile>
__device__ __forceinline__ void start_slice(const SeparableArguments& a, const SeparableShared<Mma, Tile>& shared,
                                            int step, bool whole) {
  using T = typename Mma::Element;
  constexpr int kApart = Tile::kThreads / kStepPieces;
  const ConvArguments& conv = a.gemm.conv;
  const int piece = threadIdx.x % kStepPieces, channel = (step * kStepPieces + piece) * kSlicePiece;
  T* target = shared.slot_of(step) + piece * kSlicePiece;
  const T* x = static_cast<const T*>(conv.x);  // [N, H, W, C] by x_stride
#pragma unroll 1
  for (int cell = threadIdx.x / kStepPieces; cell < a.halo_rows * a.halo_columns; cell += kApart) {
    const SourceCell from = prims::load_whole(shared.cells + cell);
    const int channels = from.exists != 0 ? conv.c - channel : 0;
    if (whole) {
      prims::copy_async<16>(target + from.place * kSliceChannels, channels > 0 ? x + from.offset + channel : x,
                            channels > 0 ? 16 : 0);
    } else {
      Vec<T, kSlicePiece> values = {};
#pragma unroll
      for (int i = 0; i < kSlicePiece; ++i) {
        if (i < channels) values.value[i] = x[from.offset + (channel + i) * conv.x_stride[3]];
      }
      store_vec(target + from.place * kSliceChannels, values);
    }
  }
  target += a.slice_cells * kSliceChannels;
  const int row = a.gemm.tap_pieces * kSlicePiece;
  const T* weight = static_cast<const T*>(a.depthwise_weight);  // [R * S][row]
#pragma unroll 1
  for (int tap = threadIdx.x / kStepPieces; tap < a.r * a.s; tap += kApart)
    prims::copy_async<16>(target + tap * kSliceChannels,
                          channel < row ? weight + static_cast<int64>(tap) * row + channel : weight,
                          channel < row ? 16 : 0);
}

// Adds the windows of a thread's 4 columns, in the order (r, s). cell: from the thread's first cell and channel on;
// weight: from its first channel on.
template <int kS, int kStride, class T>
__device__ __forceinline__ void add_windows(const SeparableArguments& a, const T* cell, const T* weight,
                                            float32 (&sum)[kSliceSums]) {
  constexpr int kGroup = 4 * kStride, kCells = 3 * kStride + kS;
#pragma unroll 1
  for (int r = 0; r < a.r; ++r) {
    Vec<T, 4> x[kCells];
#pragma unroll
    for (int i = 0; i < kCells; ++i) x[i] = load_vec<4>(cell + (i + i / kGroup) * kSliceChannels);
#pragma unroll
    for (int s = 0; s < kS; ++s) {
      const Vec<T, 4> tap = load_vec<4>(weight + s * kSliceChannels);
#pragma unroll
      for (int i = 0; i < kSliceSums; ++i)
        sum[i] += to_accumulator(x[i / 4 * kStride + s].value[i % 4]) * to_accumulator(tap.value[i % 4]);
    }
    cell += a.dilation_h * a.row_cells * kSliceChannels;
    weight += kS * kSliceChannels;
  }
}

template <int kS, class T>
__device__ __forceinline__ void add_windows_of(const SeparableArguments& a, const T* cell, const T* weight,
                                               float32 (&sum)[kSliceSums]) {
  if (a.stride_w == 1) {
    add_windows<kS, 1>(a, cell, weight, sum);
  } else {
    add_windows<kS, 2>(a, cell, weight, sum);
  }
}

// What finish_values() adds to a thread's sums: terms of its 4 channels.
struct SliceTerms {
  const float32* scale_of;  // [4], shared
  const float32* bias_of;   // [4], shared

  __device__ __forceinline__ void scale(float32 (&term)[kSliceSums]) const { take(scale_of, term); }
  __device__ __forceinline__ void bias(float32 (&term)[kSliceSums]) const { take(bias_of, term); }
  __device__ __forceinline__ void residual(float32 (&)[kSliceSums]) const {}  // the depthwise has none

  __device__ __forceinline__ static void take(const float32* terms, float32 (&term)[kSliceSums]) {
    const Vec<float32, 4> piece = load_vec<4>(terms);
#pragma unroll
    for (int i = 0; i < kSliceSums; ++i) term[i] = piece.value[i % 4];
  }
};

// Computes the depthwise of a slice, rounded, as rows of the GEMM: the team whose turn it is. Past C they are zero.
template <class Mma, class Tile>
__device__ __forceinline__ void compute_slice(const SeparableArguments& a, const SeparableBlock& block,
                                              const SeparableShared<Mma, Tile>& shared, int step) {
  using T = typename Mma::Element;
  if (static_cast<int>(threadIdx.x) / kSliceThreads != step % kTeams<Tile>) return;
  const int lane = threadIdx.x % 8, group = threadIdx.x / 8 % 16, channel = step * kSliceChannels + 4 * lane;
  const int row = group >> a.groups_log2, column_group = group - (row << a.groups_log2);
  const int place = row * a.stride_h * a.row_cells + column_group * (4 * a.stride_w + 1);
  const T* cell = shared.slot_of(step) + place * kSliceChannels + 4 * lane;
  const T* weight = shared.slot_of(step) + a.slice_cells * kSliceChannels + 4 * lane;
  float32 sum[kSliceSums] = {};
  switch (a.s) {
    case 3:
      add_windows_of<3>(a, cell, weight, sum);
      break;
    case 5:
      add_windows_of<5>(a, cell, weight, sum);
      break;
    default:
      add_windows_of<7>(a, cell, weight, sum);
  }
  ConvArguments depthwise = {};
  depthwise.scale = a.depthwise_scale;
  depthwise.bias = a.depthwise_bias;
  depthwise.epilogue = a.depthwise_epilogue;
  finish_values(depthwise, sum, SliceTerms{shared.scale + channel, shared.bias + channel});
  int before = 0;
#pragma unroll
  for (int phase = 0; phase < 4; ++phase) {
    const int columns = block.in_phase(phase);
    if (row < block.rows && column_group < columns) {
      Vec<T, 4> piece = {};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (channel + i < a.gemm.conv.c) piece.value[i] = Element<T>::from_real(sum[4 * phase + i]);
      }
      Piece& target = shared.stage_of(step).x[piece_place(before + row * columns + column_group, lane / 2)];
      store_vec(reinterpret_cast<T*>(target) + 4 * (lane % 2), piece);
    }
    before += block.rows * columns;
  }
}

template <class Mma, class Tile>
__device__ __forceinline__ void set_places(const ConvArguments& a, const SeparableBlock& block, OutputPlace* place) {
  for (int pixel = threadIdx.x; pixel < block.rows * block.columns; pixel += Tile::kThreads) {
    const auto [row, column] = block.output(pixel);
    const int p = block.first_p + row, q = block.first_q + column;
    const auto offset = [&](const int64(&stride)[4]) {
      return block.image * stride[0] + p * stride[1] + q * stride[2];
    };
    place[pixel] = {offset(a.y_stride), offset(a.residual_stride)};
  }
}

template <class Mma, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    conv_separable(const __grid_constant__ SeparableArguments a) {
  static_assert(Tile::kPixels == 64 && sizeof(typename Mma::Element) == 2,
                "16 groups of 4 columns; 32 channels a step");
  const SeparableShared<Mma, Tile> shared(a);
  const SeparableBlock block = SeparableBlock::of(a);
  set_cells<Tile>(a, block, shared.cells);
  load_terms(a, shared);
  clear_rows(block, shared);
  prims::sync_block();
  const bool whole = comes_in_pieces(a.gemm.conv);
  start_slice(a, shared, 0, whole);
  prims::commit_copies();
  WeightLoader<Mma, Tile> weight(a.gemm, block, 0);
  WarpSums<Mma, Tile> sums;
  sums.clear();
#pragma unroll 1
  for (int step = 0; step <= shared.steps; ++step) {
    prims::wait_copies<0>();
    prims::sync_block();  // this slice is there, and of the one before what is multiplied now
    if (step < shared.steps) {
      if (step + 1 < shared.steps) start_slice(a, shared, step + 1, whole);
      weight.start(shared.stage_of(step));
      prims::commit_copies();
    }
    if (step > 0) sums.multiply(shared.stage_of(step - 1));
    if (step < shared.steps) compute_slice(a, block, shared, step);
  }
  prims::sync_block();  // every warp has read the last stage
  typename SeparableShared<Mma, Tile>::Output& output = shared.working.output;
  set_places<Mma, Tile>(a.gemm.conv, block, output.place);
  prims::sync_block();
  const int pixel = warp_pixel<Tile>();
  write_warp_sums<Tile::kM, Tile::kN>(a.gemm.conv, sums.value, output.stage[threadIdx.x / 32], output.place + pixel,
                                      block.rows * block.columns - pixel, warp_column<Tile>(), block.column_end);
}

}  // namespace atrous
