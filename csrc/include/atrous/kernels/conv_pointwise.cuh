// conv_pointwise: 1x1 convolution with stride 1 and no padding, the matrix product of pixels and channels.
//
// Computes  y[n, h, w, k] = epilogue(sum over c of x[n, h, w, c] * weight[k, 0, 0, c]), c in ascending order. Sums are
//           float32, float64 for float64.
// Layout    Every operand through its element strides. Pieces of 16 bytes where x (weight) is aligned and dense enough:
//           along channels for Nhwc and for weight, along pixels for Nchw; else element by element.
// Mapping   A block owns 128 pixels times 64 output channels, a thread 8 x 4 of them; the channel tiles of the same
//           pixels are neighbours in the grid, so that x is read from L2. Nhwc: pixels are counted through all images.
//           Nchw: a tile stays within one image, whose pixels lie apart from the next one's by C planes.
// Shared    Two buffers of 16 (float64: 8) channels x (128 + 64) sums, 25 KB: one is multiplied while the next step's
//           loads are under way and the other is written, with one barrier a step.
// Requires  R = S = 1; stride 1; no padding; groups 1; a float dtype; C and K below 2^31 - 64; fewer than 2^31 blocks.
//           For int32 Index every element offset fits.
// Cost      2 * N*H*W * K * C operations; x is read K/64 times and weight N*H*W/128 times, from L2.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/layout.cuh"
#include "atrous/tile.cuh"

namespace atrous {

template <class Sum>
constexpr int kPointwiseStep = 64 / sizeof(Sum);  // channels

template <class Sum, class Layout, class Index>
struct PointwiseShared {
  using Tile = WideTile;
  struct Operands {
    Sum x[kPointwiseStep<Sum>][Tile::kPixels + kRowPadding<Sum>];
    Sum weight[kPointwiseStep<Sum>][Tile::kColumns + kRowPadding<Sum>];
  };
  union alignas(16) {
    Operands operands[2];
    Sum stage[Stage<Layout, Tile>::kSize];
  };
  OutputPixel<Index> output[Tile::kPixels];
};

// The share of one block.
template <class Index>
struct PointwiseBlock {
  Index first_pixel;  // of N*H*W
  int pixels;
  int first_column;
};

template <class Layout, class Index>
__device__ __forceinline__ PointwiseBlock<Index> pointwise_block(const ConvArguments& a) {
  const Index image_pixels = static_cast<Index>(a.h) * a.w;
  const Index run = Layout::kChannelsLast ? image_pixels * a.n : image_pixels;  // that tiles divide between them
  const Index run_tiles = ceil_divide<Index>(run, WideTile::kPixels);
  const unsigned column_tiles = ceil_divide(a.k, WideTile::kColumns);
  const Index tile = static_cast<Index>(blockIdx.x / column_tiles);
  const Index start = tile % run_tiles * WideTile::kPixels;
  PointwiseBlock<Index> block;
  block.first_pixel = tile / run_tiles * run + start;
  block.pixels = run - start < WideTile::kPixels ? static_cast<int>(run - start) : WideTile::kPixels;
  block.first_column = static_cast<int>(blockIdx.x % column_tiles) * WideTile::kColumns;
  return block;
}

// stride: n, h, w, ... of x or n, p, q, ... of y
template <class Index>
__device__ __forceinline__ Index pixel_offset(const ConvArguments& a, Index pixel, const int64 (&stride)[4]) {
  const Index row = pixel / a.w;
  return static_cast<Index>(row / a.h * stride[0] + row % a.h * stride[1] + pixel % a.w * stride[2]);
}

// Elements of T in 16 bytes.
template <class T>
constexpr int kPiece = 16 / sizeof(T);

// Whether 16-byte pieces along a contiguous axis of `extent` elements start on 16 bytes and end within it, when a piece
// starts at a multiple of its length on that axis and anywhere on the axes of these strides.
template <class T>
__device__ __forceinline__ bool takes_pieces(const void* base, int64 step, int64 extent, int64 stride_a, int64 stride_b,
                                             int64 stride_c) {
  return is_aligned(base, 16) && step == 1 && extent % kPiece<T> == 0 && stride_a % kPiece<T> == 0 &&
         stride_b % kPiece<T> == 0 && stride_c % kPiece<T> == 0;
}

// kRows rows of a step's channels, in the registers of the block: the pixels of an Nhwc x, or output channels of
// weight.
template <class T, class Index, int kRows>
struct ChannelPieces {
  using Sum = typename Accumulator<T>::type;
  static constexpr int kRowPieces = kPointwiseStep<Sum> / kPiece<T>;
  static constexpr int kPieces = ceil_divide(kRows * kRowPieces, kThreads);  // of a thread
  static constexpr int kRowsApart = kThreads / kRowPieces;

  const T* base;
  Index offset[kPieces];  // of the thread's rows
  Index step;             // from channel to channel
  bool in_pieces;
  int row, channel;
  Vec<T, kPiece<T>> value[kPieces];

  __device__ __forceinline__ ChannelPieces()
      : row(threadIdx.x / kRowPieces), channel(threadIdx.x % kRowPieces * kPiece<T>) {}

  __device__ __forceinline__ void load(int first_channel, int channels) {
    const int first = first_channel + channel;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      value[i] = {};
      if (row + i * kRowsApart >= kRows || first >= channels) continue;
      if (in_pieces) {
        value[i] = load_vec<kPiece<T>>(base + offset[i] + first);
        continue;
      }
#pragma unroll
      for (int j = 0; j < kPiece<T>; ++j)
        if (first + j < channels) value[i].value[j] = base[offset[i] + (first + j) * step];
    }
  }

  // tile: [step's channels][kRowLength], shared
  template <int kRowLength>
  __device__ __forceinline__ void store(Sum (*tile)[kRowLength]) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      if (row + i * kRowsApart >= kRows) continue;
#pragma unroll
      for (int j = 0; j < kPiece<T>; ++j) tile[channel + j][row + i * kRowsApart] = to_accumulator(value[i].value[j]);
    }
  }
};

// A step's channels of the pixels of an Nchw x, in the registers of the block. Pieces run along the pixels; a thread
// that cannot read pieces keeps to one pixel, whose offset it need not derive again.
template <class T, class Index>
struct PixelPieces {
  using Sum = typename Accumulator<T>::type;
  static constexpr int kPixels = WideTile::kPixels;
  static constexpr int kElements = kPointwiseStep<Sum> * kPixels / kThreads;  // of a thread
  static constexpr int kRowPieces = kPixels / kPiece<T>;
  static constexpr int kPieces = kElements / kPiece<T>;

  const T* base;
  Index offset;  // of the thread's first pixel
  Index step;    // from channel to channel
  bool in_pieces;
  int pixel, channel;
  Vec<T, kPiece<T>> value[kPieces];

  __device__ __forceinline__ explicit PixelPieces(bool pieces) : in_pieces(pieces) {
    pixel = pieces ? threadIdx.x % kRowPieces * kPiece<T> : threadIdx.x % kPixels;
    channel = pieces ? threadIdx.x / kRowPieces : threadIdx.x / kPixels;
  }

  __device__ __forceinline__ void load(int first_channel, int channels) {
    const int first = first_channel + channel;
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
      value[i] = {};
      if (in_pieces) {
        const int c = first + i * (kThreads / kRowPieces);
        if (c < channels) value[i] = load_vec<kPiece<T>>(base + offset + c * step);
        continue;
      }
#pragma unroll
      for (int j = 0; j < kPiece<T>; ++j) {
        const int c = first + (i * kPiece<T> + j) * (kThreads / kPixels);
        if (c < channels) value[i].value[j] = base[offset + c * step];
      }
    }
  }

  // tile: [step's channels][kRowLength], shared
  template <int kRowLength>
  __device__ __forceinline__ void store(Sum (*tile)[kRowLength]) const {
#pragma unroll
    for (int i = 0; i < kPieces; ++i) {
#pragma unroll
      for (int j = 0; j < kPiece<T>; ++j) {
        const Sum cell = to_accumulator(value[i].value[j]);
        if (in_pieces)
          tile[channel + i * (kThreads / kRowPieces)][pixel + j] = cell;
        else
          tile[channel + (i * kPiece<T> + j) * (kThreads / kPixels)][pixel] = cell;
      }
    }
  }
};

// The loader of x at its first step. Past the last pixel it reads a copy of a pixel that is there, which nothing
// stores.
template <class T, class Layout, class Index>
__device__ __forceinline__ auto x_loader(const ConvArguments& a, const PointwiseBlock<Index>& block) {
  const int64* stride = a.x_stride;
  if constexpr (Layout::kChannelsLast) {
    ChannelPieces<T, Index, WideTile::kPixels> x;
    x.in_pieces = takes_pieces<T>(a.x, stride[3], a.c, stride[0], stride[1], stride[2]);
#pragma unroll
    for (int i = 0; i < x.kPieces; ++i) {
      const int pixel = min(x.row + i * x.kRowsApart, block.pixels - 1);
      x.offset[i] = pixel_offset<Index>(a, block.first_pixel + pixel, a.x_stride);
    }
    x.base = static_cast<const T*>(a.x);  // [N, H, W, C] by x_stride
    x.step = static_cast<Index>(stride[3]);
    return x;
  } else {
    const int64 image_pixels = static_cast<int64>(a.h) * a.w;
    const bool linear = a.h == 1 || stride[1] == a.w;
    PixelPieces<T, Index> x(linear && takes_pieces<T>(a.x, stride[2], image_pixels, stride[0], stride[3], 0));
    const int pixel = x.pixel < block.pixels ? x.pixel : 0;
    x.offset = pixel_offset<Index>(a, block.first_pixel + pixel, a.x_stride);
    x.base = static_cast<const T*>(a.x);  // [N, C, H, W] by x_stride
    x.step = static_cast<Index>(stride[3]);
    return x;
  }
}

template <class T, class Index>
__device__ __forceinline__ auto weight_loader(const ConvArguments& a, const PointwiseBlock<Index>& block) {
  ChannelPieces<T, Index, WideTile::kColumns> weight;
  weight.in_pieces = takes_pieces<T>(a.weight, a.weight_stride[3], a.c, a.weight_stride[0], 0, 0);
#pragma unroll
  for (int i = 0; i < weight.kPieces; ++i) {
    const int k = min(block.first_column + weight.row + i * weight.kRowsApart, a.k - 1);
    weight.offset[i] = static_cast<Index>(k * a.weight_stride[0]);
  }
  weight.base = static_cast<const T*>(a.weight);  // [K, 1, 1, C] by weight_stride
  weight.step = static_cast<Index>(a.weight_stride[3]);
  return weight;
}

template <class T, class Layout, class Index>
__global__ void __launch_bounds__(kThreads, 2) conv_pointwise(const __grid_constant__ ConvArguments a) {
  using Tile = WideTile;
  using Sum = typename Accumulator<T>::type;
  using Shared = PointwiseShared<Sum, Layout, Index>;
  constexpr int kStep = kPointwiseStep<Sum>;
  Shared& shared = prims::shared<Shared>();
  const PointwiseBlock<Index> block = pointwise_block<Layout, Index>(a);
  if (threadIdx.x < Tile::kPixels) {
    const Index pixel = block.first_pixel + min(static_cast<int>(threadIdx.x), block.pixels - 1);
    shared.output[threadIdx.x] = {pixel_offset<Index>(a, pixel, a.y_stride),
                                  pixel_offset<Index>(a, pixel, a.residual_stride)};
  }
  auto x = x_loader<T, Layout>(a, block);
  auto weight = weight_loader<T>(a, block);
  ThreadSums<Tile, Sum> sums;
  sums.clear();
  x.load(0, a.c);
  weight.load(0, a.c);
  x.store(shared.operands[0].x);
  weight.store(shared.operands[0].weight);
  prims::sync_block();
  int buffer = 0;
  for (int channel = 0; channel < a.c; channel += kStep, buffer ^= 1) {
    const bool more = channel + kStep < a.c;
    if (more) {
      x.load(channel + kStep, a.c);
      weight.load(channel + kStep, a.c);
    }
    const typename Shared::Operands& operands = shared.operands[buffer];
#pragma unroll
    for (int i = 0; i < kStep; ++i)
      sums.multiply_add(&operands.x[i][thread_pixel<Tile>()], &operands.weight[i][thread_column<Tile>()]);
    if (more) {
      x.store(shared.operands[buffer ^ 1].x);
      weight.store(shared.operands[buffer ^ 1].weight);
    }
    prims::sync_block();
  }
  write_tile<Layout>(a, sums, shared.stage, shared.output, block.pixels, block.first_column, a.k);
}

}  // namespace atrous
