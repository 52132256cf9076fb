// x of any strides on its way to shared memory: gathered element by element, a pixel a thread, through registers.
#pragma once

#include "atrous/gemm_loader.cuh"

namespace atrous {

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
    int channels;
    bool is_used;
    TapWalk walk;
    Element value[kPieces][kElements];

    __device__ __forceinline__ static int pixel() { return threadIdx.x % Tile::kPixels; }
    __device__ __forceinline__ static int depth() { return threadIdx.x / Tile::kPixels; }

    __device__ __forceinline__ Loader(const GemmArguments& gemm, const GemmBlock& block, int first_step)
        : x(static_cast<const Element*>(gemm.conv.x)),
          channels(gemm.conv.c / gemm.conv.groups),
          is_used(pixel() < block.pixels),
          walk(gemm.conv, 1, gemm.conv.x_stride[3] * kElements, gemm.tap_pieces, first_step * kStepPieces + depth(),
               kPiecesApart) {
      const ConvArguments& a = gemm.conv;
      const OutputPixelPlace place = block.place(a, pixel());
      x += place.n * a.x_stride[0] + block.first_channel * a.x_stride[3];
      h = place.p * a.stride_h - a.pad_top;
      w = place.q * a.stride_w - a.pad_left;
      if (static_cast<PaddingMode>(a.padding_mode) == PaddingMode::kZeros) {
        x += h * a.x_stride[1] + w * a.x_stride[2];
        h = is_used ? static_cast<int>(window_mask(h, a.r, a.dilation_h, a.h)) : 0;
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
          walk.advance();
        }
      } else {
#pragma unroll
        for (int i = 0; i < kPieces; ++i) {
          const bool is_valid = is_used && !walk.is_past();
          const int row = is_valid ? source_coordinate(mode, h + walk.at.slow * a.dilation_h, a.h) : 0;
          const int column = is_valid ? source_coordinate(mode, w + walk.at.middle * a.dilation_w, a.w) : 0;
          gather(a, value[i], is_valid,
                 row * a.x_stride[1] + column * a.x_stride[2] + walk.at.fast * kElements * a.x_stride[3]);
          walk.advance();
        }
      }
    }

    // Channels past the group's meet weights of zero.
    __device__ __forceinline__ void gather(const ConvArguments& a, Element (&piece)[kElements], bool is_valid,
                                           int64 offset) const {
      const int count = is_valid ? channels - walk.at.fast * kElements : 0;
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
