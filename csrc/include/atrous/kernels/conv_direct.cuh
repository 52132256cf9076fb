// conv_direct: convolution of any shape, dtype, layout and padding, an implicit GEMM on the ordinary arithmetic units.
//
// Computes  y[n, p, q, k] = epilogue(sum over r, s, c of x[n, p*stride_h - top + r*dilation_h,
//           q*stride_w - left + s*dilation_w, g*C/G + c] * weight[k, r, s, c]) with g = k / (K/G). Sums are float32,
//           float64 for float64, int32 of (x - zero point) * weight for integers.
// Layout    Every operand through its element strides. Nhwc and Nchw say which axis is contiguous, and with it the
//           order of the sum: gemm_k counts (r, s, c) or (c, r, s). Padding is a mapped coordinate, never a copy.
// Mapping   A block owns kPixels of gemm_m = N*P*Q times kColumns output channels; the channel tiles of the same pixels
//           are neighbours in the grid, so that x is read from L2. WideTile: columns of one group. NarrowTile, for
//           K/G <= 32: 32 consecutive channels of whatever groups; x then holds the channels of all those groups, and a
//           lane reads its own. Loads run along channels (Nhwc) or pixels (Nchw); the next step's values wait in
//           registers, in their own dtype, while this step's are multiplied.
// Shared    A row of x is a slot: one gemm_k of one group. WideTile: 16 slots (float64: 8) x (128 + 64) sums, 13 KB;
//           NarrowTile: 64 (float64: 32) x (64 + 32), 26 KB. With the tables of pixels and taps at most 30 KB, so that
//           two blocks fit wherever 2 x 256 threads x 128 registers do.
// Requires  R * S * C/G and K below 2^31 - 64; H and W with their padding below 2^31; fewer than 2^31 blocks; of
//           integers no sum that can pass 2^31 - 1. For int32 Index every element offset fits.
// Cost      2 * N*P*Q * K * R*S*C/G operations; x is read K/64 times per tap and weight gemm_m/128 times, from L2.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/layout.cuh"
#include "atrous/tile.cuh"

namespace atrous {

// Where a tile reads: the slots of a step, and whether its columns may belong to several groups.
template <class Tile, class Sum>
struct DirectStep {
  static constexpr bool kBundlesGroups = false;
  static constexpr int kSlotsLog2 = sizeof(Sum) == 8 ? 3 : 4;
  static constexpr int kSlots = 1 << kSlotsLog2;
};
template <class Sum>
struct DirectStep<NarrowTile, Sum> {
  static constexpr bool kBundlesGroups = true;
  static constexpr int kSlotsLog2 = sizeof(Sum) == 8 ? 5 : 6;
  static constexpr int kSlots = 1 << kSlotsLog2;
  static_assert(kSlots >= NarrowTile::kColumns, "each column may be a group of its own");
};

// The first cell of a pixel's window, in padded coordinates.
template <class Index>
struct alignas(16) InputPixel {
  Index offset;  // of the image
  int h, w;
};

// TapPlace::h of a slot that holds nothing. Added to any row, and wrapped, it is a row outside of x: at or below -1
// from 0 on, and at or above 2^31 - top > H from -top on.
constexpr int kNoTap = -2147483647 - 1;

__device__ __forceinline__ int add_wrapped(int a, int b) {
  return static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
}

__device__ __forceinline__ bool is_inside(int i, int extent) {
  return static_cast<unsigned>(i) < static_cast<unsigned>(extent);
}

// What a slot adds to the place of a pixel, and of an output channel.
template <class Index>
struct alignas(16) TapPlace {
  Index x_offset;       // of the channel
  Index weight_offset;  // of (r, s, c)
  int h, w;
};

template <class Sum, class Layout, class Index, class Tile>
struct DirectShared {
  static constexpr int kSlots = DirectStep<Tile, Sum>::kSlots;
  struct Operands {
    Sum x[kSlots][Tile::kPixels + kRowPadding<Sum>];
    Sum weight[kSlots][Tile::kColumns + kRowPadding<Sum>];
  };
  union alignas(16) {
    Operands operands;
    Sum stage[Stage<Layout, Tile>::kSize];
  };
  InputPixel<Index> input[Tile::kPixels];
  OutputPixel<Index> output[Tile::kPixels];
  TapPlace<Index> tap[kSlots];
};

// The share of one block.
template <class Index>
struct DirectBlock {
  Index first_pixel;
  int pixels;
  int first_column, column_end;
  int first_group, groups;
  int step_log2;  // a step is 2^step_log2 of gemm_k, in slots [gemm_k][group]
};

template <class Tile, class Sum, class Index>
__device__ __forceinline__ DirectBlock<Index> direct_block(const ConvArguments& a) {
  using Step = DirectStep<Tile, Sum>;
  const int group_columns = a.k / a.groups;
  const int group_tiles = ceil_divide(Step::kBundlesGroups ? a.k : group_columns, Tile::kColumns);
  const unsigned tiles = Step::kBundlesGroups ? group_tiles : group_tiles * a.groups;
  const int tile = blockIdx.x % tiles;
  DirectBlock<Index> block;
  block.first_pixel = static_cast<Index>(blockIdx.x / tiles) * Tile::kPixels;
  const Index pixels_left = static_cast<Index>(a.n) * a.p * a.q - block.first_pixel;
  block.pixels = pixels_left < Tile::kPixels ? static_cast<int>(pixels_left) : Tile::kPixels;
  if (Step::kBundlesGroups) {
    block.first_column = tile * Tile::kColumns;
    block.column_end = a.k;
    block.first_group = block.first_column / group_columns;
    block.groups = (min(block.first_column + Tile::kColumns, a.k) - 1) / group_columns - block.first_group + 1;
    block.step_log2 = 0;
    while ((block.groups << (block.step_log2 + 1)) <= Step::kSlots) ++block.step_log2;
  } else {
    block.first_group = tile / group_tiles;
    block.groups = 1;
    block.step_log2 = Step::kSlotsLog2;
    block.first_column = block.first_group * group_columns + tile % group_tiles * Tile::kColumns;
    block.column_end = (block.first_group + 1) * group_columns;
  }
  return block;
}

// Fills the tables of pixels. Past the last pixel stands a copy of it: its loads are harmless, its outputs not stored.
template <class Tile, class Shared, class Index>
__device__ __forceinline__ void fill_pixels(const ConvArguments& a, const DirectBlock<Index>& block, Shared& shared) {
  if (threadIdx.x >= Tile::kPixels) return;
  const Index pixel = block.first_pixel + min(static_cast<int>(threadIdx.x), block.pixels - 1);
  const Index row = pixel / a.q, n = row / a.p;
  const int q = static_cast<int>(pixel % a.q), p = static_cast<int>(row % a.p);
  const auto offset = [&](const int64(&stride)[4]) {
    return static_cast<Index>(n * stride[0] + p * stride[1] + q * stride[2]);
  };
  shared.input[threadIdx.x] = {static_cast<Index>(n * a.x_stride[0]), p * a.stride_h - a.pad_top,
                               q * a.stride_w - a.pad_left};
  shared.output[threadIdx.x] = {offset(a.y_stride), offset(a.residual_stride)};
}

// Thread i < kSlots keeps the table entry of slot i, and moves it on by one step.
template <class Layout, class Index>
struct TapWalk {
  Digits at, step, sizes;
  int first_channel;
  bool used;

  __device__ __forceinline__ TapWalk(const ConvArguments& a, const DirectBlock<Index>& block) {
    const int slot = threadIdx.x, channels = a.c / a.groups;
    sizes = Layout::tap_sizes(a.r, a.s, channels);
    at = to_digits(slot / block.groups, sizes);
    step = to_digits(1 << block.step_log2, sizes);
    first_channel = (block.first_group + slot % block.groups) * channels;
    used = slot < block.groups << block.step_log2;
  }

  __device__ __forceinline__ void write(const ConvArguments& a, TapPlace<Index>& place) const {
    if (!used || at.slow >= sizes.slow) {
      place = {0, 0, kNoTap, 0};
      return;
    }
    const Tap tap = Layout::tap(at);
    place.x_offset = static_cast<Index>((first_channel + tap.c) * a.x_stride[3]);
    place.weight_offset =
        static_cast<Index>(tap.r * a.weight_stride[1] + tap.s * a.weight_stride[2] + tap.c * a.weight_stride[3]);
    place.h = tap.r * a.dilation_h;
    place.w = tap.s * a.dilation_w;
  }

  __device__ __forceinline__ void advance() { atrous::advance(at, step, sizes); }
};

__device__ __forceinline__ float32 centred(float32 value, int) { return value; }
__device__ __forceinline__ float64 centred(float64 value, int) { return value; }
__device__ __forceinline__ int32 centred(int32 value, int zero_point) { return value - zero_point; }

// One step's share of x and weight in the registers of one thread.
template <class T, class Layout, class Index, class Tile>
struct DirectLoader {
  using Sum = typename Accumulator<T>::type;
  using Shared = DirectShared<Sum, Layout, Index, Tile>;
  static constexpr int kSlots = Shared::kSlots;
  // Nhwc: 16 neighbouring channels and 2 pixels a warp, so that two rows of banks are written at once, not four.
  static constexpr int kSlotThreads = Layout::kChannelsLast ? (kSlots < 16 ? kSlots : 16) : kThreads / Tile::kPixels;
  static constexpr int kPixelThreads = kThreads / kSlotThreads;
  static constexpr int kSlotLoads = kSlots / kSlotThreads, kPixelLoads = Tile::kPixels / kPixelThreads;
  static constexpr int kWeightLoads = kSlots * Tile::kColumns / kThreads;

  T x_value[kSlotLoads][kPixelLoads];
  T weight_value[kWeightLoads];
  int slot, pixel;

  __device__ __forceinline__ DirectLoader() {
    slot = Layout::kChannelsLast ? threadIdx.x % kSlotThreads : threadIdx.x / kPixelThreads;
    pixel = Layout::kChannelsLast ? threadIdx.x / kSlotThreads : threadIdx.x % kPixelThreads;
  }

  __device__ __forceinline__ void load(const ConvArguments& a, const DirectBlock<Index>& block, const Shared& shared) {
    const T* x = static_cast<const T*>(a.x);  // [N, H, W, C] by x_stride
    const PaddingMode mode = static_cast<PaddingMode>(a.padding_mode);
    if (mode == PaddingMode::kZeros) {  // apart from the rest, so that the usual way is free of branches
      load_x(shared, [&](T& value, const InputPixel<Index>& window, const TapPlace<Index>& tap) {
        const int h = add_wrapped(window.h, tap.h), w = window.w + tap.w;
        value = padding_cell<T>(a.x_zero_point);
        if (is_inside(h, a.h) & is_inside(w, a.w)) value = x[cell_offset(a, window, tap, h, w)];
      });
    } else {
      load_x(shared, [&](T& value, const InputPixel<Index>& window, const TapPlace<Index>& tap) {
        value = padding_cell<T>(a.x_zero_point);
        if (tap.h == kNoTap) return;
        const int h = source_coordinate(mode, window.h + tap.h, a.h);
        const int w = source_coordinate(mode, window.w + tap.w, a.w);
        value = x[cell_offset(a, window, tap, h, w)];
      });
    }
    load_weight(a, block, shared);
  }

  // Calls load(value, window, tap) for each of the thread's cells.
  template <class Load>
  __device__ __forceinline__ void load_x(const Shared& shared, Load load) {
#pragma unroll
    for (int j = 0; j < kSlotLoads; ++j) {
      const TapPlace<Index> tap = shared.tap[slot + j * kSlotThreads];
#pragma unroll
      for (int i = 0; i < kPixelLoads; ++i) {
        const InputPixel<Index> window = shared.input[pixel + i * kPixelThreads];
        load(x_value[j][i], window, tap);
      }
    }
  }

  __device__ __forceinline__ static Index cell_offset(const ConvArguments& a, const InputPixel<Index>& window,
                                                      const TapPlace<Index>& tap, int h, int w) {
    return window.offset + tap.x_offset + static_cast<Index>(h * a.x_stride[1] + w * a.x_stride[2]);
  }

  __device__ __forceinline__ void load_weight(const ConvArguments& a, const DirectBlock<Index>& block,
                                              const Shared& shared) {
    const T* weight = static_cast<const T*>(a.weight);  // [K, R, S, C/G] by weight_stride
#pragma unroll
    for (int i = 0; i < kWeightLoads; ++i) {
      const int element = threadIdx.x + i * kThreads, gemm_k = element & ((1 << block.step_log2) - 1);
      const int column = element >> block.step_log2, k = block.first_column + column;
      weight_value[i] = T{};
      if (column >= Tile::kColumns || k >= block.column_end) continue;
      const TapPlace<Index>& tap = shared.tap[gemm_k * block.groups];
      if (tap.h != kNoTap) weight_value[i] = weight[static_cast<Index>(k * a.weight_stride[0]) + tap.weight_offset];
    }
  }

  __device__ __forceinline__ void store(const ConvArguments& a, const DirectBlock<Index>& block, Shared& shared) const {
#pragma unroll
    for (int j = 0; j < kSlotLoads; ++j) {
#pragma unroll
      for (int i = 0; i < kPixelLoads; ++i)
        shared.operands.x[slot + j * kSlotThreads][pixel + i * kPixelThreads] =
            centred(to_accumulator(x_value[j][i]), a.x_zero_point);
    }
#pragma unroll
    for (int i = 0; i < kWeightLoads; ++i) {
      const int element = threadIdx.x + i * kThreads, gemm_k = element & ((1 << block.step_log2) - 1);
      const int column = element >> block.step_log2;
      if (column < Tile::kColumns) shared.operands.weight[gemm_k][column] = to_accumulator(weight_value[i]);
    }
  }
};

// Multiplies what is staged of one step; slot is the first of the thread's own group.
template <class Tile, class Sum, class Operands, class Index>
__device__ __forceinline__ void multiply_step(ThreadSums<Tile, Sum>& sums, const Operands& operands,
                                              const DirectBlock<Index>& block, int slot) {
  using Step = DirectStep<Tile, Sum>;
  const int pixel = thread_pixel<Tile>(), column = thread_column<Tile>();
  if constexpr (Step::kBundlesGroups) {
#pragma unroll 4
    for (int gemm_k = 0; gemm_k < 1 << block.step_log2; ++gemm_k)
      sums.multiply_add(&operands.x[gemm_k * block.groups + slot][pixel], &operands.weight[gemm_k][column]);
  } else {
#pragma unroll
    for (int gemm_k = 0; gemm_k < Step::kSlots; ++gemm_k)
      sums.multiply_add(&operands.x[gemm_k][pixel], &operands.weight[gemm_k][column]);
  }
}

template <class T, class Layout, class Index, class Tile>
__global__ void __launch_bounds__(kThreads, 2) conv_direct(const __grid_constant__ ConvArguments a) {
  using Sum = typename Accumulator<T>::type;
  using Shared = DirectShared<Sum, Layout, Index, Tile>;
  Shared& shared = prims::shared<Shared>();
  const DirectBlock<Index> block = direct_block<Tile, Sum, Index>(a);
  fill_pixels<Tile>(a, block, shared);
  TapWalk<Layout, Index> walk(a, block);
  if (threadIdx.x < Shared::kSlots) walk.write(a, shared.tap[threadIdx.x]);
  const int column = min(block.first_column + thread_column<Tile>(), block.column_end - 1);
  const int slot = column / (a.k / a.groups) - block.first_group;
  ThreadSums<Tile, Sum> sums;
  sums.clear();
  DirectLoader<T, Layout, Index, Tile> loader;
  prims::sync_block();
  loader.load(a, block, shared);
  const int gemm_k = a.c / a.groups * a.r * a.s;
  for (int left = gemm_k; left > 0; left -= 1 << block.step_log2) {
    prims::sync_block();  // the last step is multiplied, and its taps are read
    loader.store(a, block, shared);
    if (threadIdx.x < Shared::kSlots) {
      walk.advance();
      walk.write(a, shared.tap[threadIdx.x]);
    }
    prims::sync_block();
    if (left > 1 << block.step_log2) loader.load(a, block, shared);
    multiply_step(sums, shared.operands, block, slot);
  }
  write_tile<Layout>(a, sums, shared.stage, shared.output, block.pixels, block.first_column, block.column_end);
}

}  // namespace atrous
