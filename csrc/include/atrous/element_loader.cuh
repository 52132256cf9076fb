// x of any strides on its way to shared memory: gathered element by element, a pixel a thread, through registers.
#pragma once

#include "atrous/gemm_loader.cuh"

namespace atrous {

// A thread's place in the order (r, s, piece of channels) of gemm_k, piece by piece, with what it adds to the address
// of a window's first cell, in elements.
struct PieceWalk {
  Digits at, sizes;
  int64 offset;
  int64 next_column, next_row;  // where a carry out of the pieces, or out of the columns, leads

  __device__ __forceinline__ PieceWalk(const GemmArguments& gemm, int64 piece, int depth) {
    const ConvArguments& a = gemm.conv;
    const int64 column = a.x_stride[2] * a.dilation_w, row = a.x_stride[1] * a.dilation_h;
    sizes = {a.r, a.s, gemm.tap_pieces};
    at = to_digits(depth, sizes);
    offset = at.slow * row + at.middle * column + at.fast * piece;
    next_column = column - sizes.fast * piece;
    next_row = row - sizes.middle * column;
  }

  __device__ __forceinline__ void advance(int64 piece) {
    offset += piece;
    if (++at.fast < sizes.fast) return;
    at.fast = 0;
    offset += next_column;
    if (++at.middle < sizes.middle) return;
    at.middle = 0;
    ++at.slow;
    offset += next_row;
  }

  __device__ __forceinline__ bool is_past() const { return at.slow >= sizes.slow; }
};

// Lanes run along pixels, so that loads meet in the same lines where columns are contiguous, and a thread turns the
// channels of its one pixel into the same pieces that `Pieces` copies: the transposition of NCHW costs no pass of its
// own. A step's elements wait in registers while the step before is multiplied.
struct Elements {
  // 16 elements to a piece take so many registers that one block less shares a multiprocessor.
  template <class Mma>
  static constexpr int kBlocksLess = kPieceElements<Mma> == 16 ? 1 : 0;

  template <class Mma, class Tile>
  struct Loader {
    using Element = typename Mma::Element;
    static constexpr int kElements = kPieceElements<Mma>;
    static constexpr int kPieces = Tile::kPixels * kStepPieces / Tile::kThreads;  // of a thread, in a step
    static constexpr int kPiecesApart = kStepPieces / kPieces;
    static_assert(Tile::kThreads % Tile::kPixels == 0, "a thread has one pixel");

    const Element* x;  // [N, H, W, C] by x_stride, from the window's first cell on; of the image where padding is not 0
    // The masks of the window's rows and columns; where padding is not zeros, its first cell.
    int h, w;
    int last;  // channels of a tap's last piece
    PieceWalk walk;
    Element value[kPieces][kElements];

    __device__ __forceinline__ static int pixel() { return threadIdx.x % Tile::kPixels; }
    __device__ __forceinline__ static int depth() { return threadIdx.x / Tile::kPixels; }

    __device__ __forceinline__ Loader(const GemmArguments& gemm, const GemmBlock& block, int first_step)
        : x(static_cast<const Element*>(gemm.conv.x)),
          last(gemm.conv.c / gemm.conv.groups - (gemm.tap_pieces - 1) * kElements),
          walk(gemm, gemm.conv.x_stride[3] * kElements, first_step * kStepPieces + depth()) {
      const ConvArguments& a = gemm.conv;
      // Past the last pixel stands a copy of it: its loads are harmless, its sums are not stored.
      const OutputPixelPlace place = block.place(a, min(pixel(), block.pixels - 1));
      x += place.n * a.x_stride[0] + block.first_channel * a.x_stride[3];
      h = place.p * a.stride_h - a.pad_top;
      w = place.q * a.stride_w - a.pad_left;
      if (static_cast<PaddingMode>(a.padding_mode) == PaddingMode::kZeros) {
        x += h * a.x_stride[1] + w * a.x_stride[2];
        h = static_cast<int>(window_mask(h, a.r, a.dilation_h, a.h));
        w = static_cast<int>(window_mask(w, a.s, a.dilation_w, a.w));
      }
    }

    // Loads what the next step needs of the thread's pixel.
    __device__ __forceinline__ void start(const ConvArguments& a, GemmStage<Mma, Tile>&) {
      const PaddingMode mode = static_cast<PaddingMode>(a.padding_mode);
      if (mode == PaddingMode::kZeros) {  // apart from the rest, so that the usual way is free of branches
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
          const bool is_valid = !walk.is_past() && (h >> walk.at.slow & w >> walk.at.middle & 1) != 0;
          gather(a, value[i], is_valid, walk.offset);
          advance(a);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
          const bool is_valid = !walk.is_past();
          const int row = is_valid ? source_coordinate(mode, h + walk.at.slow * a.dilation_h, a.h) : 0;
          const int column = is_valid ? source_coordinate(mode, w + walk.at.middle * a.dilation_w, a.w) : 0;
          gather(a, value[i], is_valid,
                 row * a.x_stride[1] + column * a.x_stride[2] + walk.at.fast * kElements * a.x_stride[3]);
          advance(a);
        }
      }
    }

    __device__ __forceinline__ void advance(const ConvArguments& a) {
#pragma unroll
      for (int i = 0; i < kPiecesApart; ++i) walk.advance(a.x_stride[3] * kElements);
    }

    // Channels past the group's meet weights of zero.
    __device__ __forceinline__ void gather(const ConvArguments& a, Element (&piece)[kElements], bool is_valid,
                                           int64 offset) const {
      const int count = is_valid ? (walk.at.fast + 1 == walk.sizes.fast ? last : kElements) : 0;
      const Element* source = x + offset;
#pragma unroll
      for (int i = 0; i < kElements; ++i) {
        piece[i] = padding_cell<Element>(a.x_zero_point);
        if (i < count) piece[i] = *source;
        source += a.x_stride[3];
      }
    }

    // Stores what start() has loaded.
    __device__ __forceinline__ void finish(GemmStage<Mma, Tile>& stage) const {
#pragma unroll
      for (int i = 0; i < kPieces; ++i) {
        Vec<Element, kElements> piece;
#pragma unroll
        for (int j = 0; j < kElements; ++j) piece.value[j] = value[i][j];
        store_vec(reinterpret_cast<Element*>(stage.x[piece_place(pixel(), depth() + i * kPiecesApart)]), piece);
      }
    }
  };
};

}  // namespace atrous
