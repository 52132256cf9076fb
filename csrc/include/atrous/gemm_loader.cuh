// How the operands of an implicit GEMM reach shared memory: rows of weights, and x tap by tap, by copies in flight.
#pragma once

#include "atrous/gemm_tile.cuh"
#include "atrous/geometry.hpp"
#include "atrous/layout.cuh"
#include "atrous/prims/async_copy.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// Rows and columns of a filter are bits of one mask each.
constexpr int kMostTaps = 32;

struct OutputPixelPlace {
  int n, p, q;
};

// The share of one block: kPixels of gemm_m = N*P*Q from first_pixel on, kColumns output channels of one group.
struct GemmBlock {
  OutputPixelPlace first;
  int pixels;
  int first_column, column_end;
  int first_channel;  // of x

  __device__ __forceinline__ bool has(const ConvArguments&, int pixel) const { return pixel < pixels; }

  // The place of a pixel of the block, counted from its first one.
  __device__ __forceinline__ OutputPixelPlace place(const ConvArguments& a, int pixel) const {
    const unsigned q = static_cast<unsigned>(first.q) + pixel, p = first.p + q / a.q;
    return {first.n + static_cast<int>(p / a.p), static_cast<int>(p % a.p), static_cast<int>(q % a.q)};
  }
};

// number counts blocks: the column tiles of the same pixels are neighbours, so that x is read from L2.
template <class Tile>
__device__ __forceinline__ GemmBlock gemm_block(const ConvArguments& a, unsigned number) {
  const int group_columns = a.k / a.groups;
  const int group_tiles = ceil_divide(group_columns, Tile::kColumns);
  const unsigned tiles = static_cast<unsigned>(group_tiles) * a.groups;
  const int tile = static_cast<int>(number % tiles), group = tile / group_tiles;
  const int64 first_pixel = static_cast<int64>(number / tiles) * Tile::kPixels;
  const int64 row = first_pixel / a.q, left = static_cast<int64>(a.n) * a.p * a.q - first_pixel;
  GemmBlock block;
  block.first = {static_cast<int>(row / a.p), static_cast<int>(row % a.p), static_cast<int>(first_pixel % a.q)};
  block.pixels = left < Tile::kPixels ? static_cast<int>(left) : Tile::kPixels;
  block.first_column = group * group_columns + tile % group_tiles * Tile::kColumns;
  block.column_end = (group + 1) * group_columns;
  block.first_channel = group * (a.c / a.groups);
  return block;
}

// A thread's place in the order (r, s, piece of channels) of gemm_k, and what it adds to the address of a window's
// first cell. A step moves it on by 4 pieces; all products are taken before the first one.
struct TapWalk {
  Digits at, step, sizes;
  int64 offset, step_offset;    // bytes
  int64 next_column, next_row;  // bytes, where a carry out of the pieces, or out of the columns, leads

  __device__ __forceinline__ TapWalk(const ConvArguments& a, int element_bytes, int tap_pieces, int depth) {
    const int64 column = a.x_stride[2] * a.dilation_w * element_bytes;
    const int64 row = a.x_stride[1] * a.dilation_h * element_bytes;
    sizes = {a.r, a.s, tap_pieces};
    at = to_digits(depth, sizes);
    step = to_digits(kStepPieces, sizes);
    offset = at.slow * row + at.middle * column + at.fast * 16;
    step_offset = step.slow * row + step.middle * column + step.fast * 16;
    next_column = column - tap_pieces * 16;
    next_row = row - a.s * column;
  }

  __device__ __forceinline__ void advance() {
    at.fast += step.fast;
    at.middle += step.middle;
    at.slow += step.slow;
    offset += step_offset;
    if (at.fast >= sizes.fast) {
      at.fast -= sizes.fast;
      ++at.middle;
      offset += next_column;
    }
    if (at.middle >= sizes.middle) {
      at.middle -= sizes.middle;
      ++at.slow;
      offset += next_row;
    }
  }

  __device__ __forceinline__ bool is_past() const { return at.slow >= sizes.slow; }
};

// Bit i: whether cell first + i * dilation lies on an axis of `extent` cells.
__device__ __forceinline__ unsigned window_mask(int first, int taps, int dilation, int extent) {
  unsigned mask = 0;
  for (int i = 0; i < taps; ++i)
    mask |= static_cast<unsigned>(static_cast<unsigned>(first + i * dilation) < static_cast<unsigned>(extent)) << i;
  return mask;
}

// The weights of a block: rows of output channels, which lie piece by piece in the order of gemm_k.
template <class Mma, class Tile>
struct WeightLoader {
  static constexpr int kRowsApart = Tile::kThreads / kStepPieces;
  static constexpr int kRows = Tile::kColumns / kRowsApart;
  static_assert(Tile::kColumns % kRowsApart == 0,
                "the threads of a block copy a piece of as many rows as there are, in whole turns");

  const uint8* rows;  // [planes][K][weight_row], from the thread's first row and piece on
  int64 row, plane;   // bytes
  int first_row, depth, rows_left, pieces_left;

  template <class Block>
  __device__ __forceinline__ WeightLoader(const GemmArguments& a, const Block& block, int first_step)
      : row(a.weight_row),
        plane(a.weight_plane),
        first_row(threadIdx.x / kStepPieces),
        depth(threadIdx.x % kStepPieces) {
    const int piece = first_step * kStepPieces + depth;
    rows = static_cast<const uint8*>(a.conv.weight) + (block.first_column + first_row) * row + 16ll * piece;
    rows_left = block.column_end - block.first_column - first_row;
    pieces_left = a.conv.r * a.conv.s * a.tap_pieces - piece;
  }

  __device__ __forceinline__ void start(GemmStage<Mma, Tile>& stage) {
#pragma unroll
    for (int plane_number = 0; plane_number < Mma::kWeightPlanes; ++plane_number) {
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const bool is_valid = i * kRowsApart < rows_left && pieces_left > 0;
        const uint8* source = is_valid ? rows + plane_number * plane + i * kRowsApart * row : rows;
        prims::copy_async<16>(stage.weight[plane_number][piece_place(first_row + i * kRowsApart, depth)], source,
                              is_valid ? 16 : 0);
      }
    }
    rows += 16 * kStepPieces;
    pieces_left -= kStepPieces;
  }
};

// Padding holds the zero point of an integer x, as a cell of x does that stands for 0: what is then too much is the
// zero point times all weights of an output channel.
__device__ __forceinline__ void fill_piece(Piece& piece, int zero_point) {
  const unsigned word = (zero_point & 0xff) * 0x01010101u;
  store_vec(reinterpret_cast<unsigned*>(piece), Vec<unsigned, 4>{word, word, word, word});
}

// x whose channels are dense and whose every pixel starts on 16 bytes: pieces of channels, copied as they are.
struct Pieces {
  template <class Mma>
  static constexpr int kBlocksLess = 0;

  template <class Mma, class Tile>
  struct Loader {
    static constexpr int kRowsApart = Tile::kThreads / kStepPieces;
    static constexpr int kRows = Tile::kPixels / kRowsApart;
    static constexpr int kBytes = sizeof(typename Mma::Element);

    const uint8* x;       // [N, H, W, C] by x_stride
    int64 offset[kRows];  // bytes, of the window's first cell; of the image where padding is not zeros
    // The masks of the window's rows and columns; where padding is not zeros, its first cell.
    int h[kRows], w[kRows];
    unsigned rows;  // bit i: pixel i of the thread is one of the block's
    int first_row, depth;
    TapWalk walk;

    template <class Block>
    __device__ __forceinline__ Loader(const GemmArguments& gemm, const Block& block, int first_step)
        : x(static_cast<const uint8*>(gemm.conv.x)),
          rows(0),
          first_row(threadIdx.x / kStepPieces),
          depth(threadIdx.x % kStepPieces),
          walk(gemm.conv, kBytes, gemm.tap_pieces, first_step * kStepPieces + depth) {
      const ConvArguments& a = gemm.conv;
      const bool is_zeros = static_cast<PaddingMode>(a.padding_mode) == PaddingMode::kZeros;
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
        const int row = first_row + i * kRowsApart;
        const OutputPixelPlace place = block.place(a, row);
        offset[i] = kBytes * (place.n * a.x_stride[0] + block.first_channel);
        h[i] = place.p * a.stride_h - a.pad_top;
        w[i] = place.q * a.stride_w - a.pad_left;
        if (block.has(a, row)) rows |= 1u << i;
        if (is_zeros) {
          offset[i] += kBytes * (h[i] * a.x_stride[1] + w[i] * a.x_stride[2]);
          h[i] = block.has(a, row) ? static_cast<int>(window_mask(h[i], a.r, a.dilation_h, a.h)) : 0;
          w[i] = static_cast<int>(window_mask(w[i], a.s, a.dilation_w, a.w));
        }
      }
    }

    __device__ __forceinline__ void start(const ConvArguments& a, GemmStage<Mma, Tile>& stage) {
      const PaddingMode mode = static_cast<PaddingMode>(a.padding_mode);
      if (mode == PaddingMode::kZeros) {  // apart from the rest, so that the usual way is free of branches
        const int row_bit = walk.is_past() ? 0 : 1 << walk.at.slow, column_bit = 1 << walk.at.middle;
#pragma unroll
        for (int i = 0; i < kRows; ++i)
          copy(a, stage, i, (h[i] & row_bit) != 0 && (w[i] & column_bit) != 0, offset[i] + walk.offset);
      } else {
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          const bool is_valid = !walk.is_past() && (rows >> i & 1) != 0;
          const int row = is_valid ? source_coordinate(mode, h[i] + walk.at.slow * a.dilation_h, a.h) : 0;
          const int column = is_valid ? source_coordinate(mode, w[i] + walk.at.middle * a.dilation_w, a.w) : 0;
          copy(a, stage, i, is_valid,
               offset[i] + kBytes * (row * a.x_stride[1] + column * a.x_stride[2]) + 16 * walk.at.fast);
        }
      }
      walk.advance();
    }

    // Copies in flight leave nothing to store.
    __device__ __forceinline__ void finish(GemmStage<Mma, Tile>&) const {}

    __device__ __forceinline__ void copy(const ConvArguments& a, GemmStage<Mma, Tile>& stage, int i, bool is_valid,
                                         int64 source) const {
      Piece& target = stage.x[piece_place(first_row + i * kRowsApart, depth)];
      if (kBytes == 1 && a.x_zero_point != 0 && !is_valid) {
        fill_piece(target, a.x_zero_point);
      } else {
        prims::copy_async<16>(target, is_valid ? x + source : x, is_valid ? 16 : 0);
      }
    }
  };
};

}  // namespace atrous
