// conv_igemm_sm80: convolution as an implicit GEMM on tensor cores, fed by copies in flight; for sm_80 and later.
//
// Computes  y[n, p, q, k] = epilogue(sum over r, s, c of x[n, p*stride_h - top + r*dilation_h,
//           q*stride_w - left + s*dilation_w, g*C/G + c] * weight[k, r, s, c]) with g = k / (K/G), in the order
//           (r, s, c). Sums are float32, or int32. Segments of gemm_k are summed from 0 each and then added in order,
//           so that an output's bits depend neither on the tile nor on the number of images, nor on whether every
//           segment is a block of its own, whose sums finish_splits adds. From 8-bit x its zero point is taken away:
//           padding holds it, and the sum of the weights of k, times it, leaves the sum at the end.
// Layout    x, residual and y through their element strides; weight as rows of pieces, [planes][K][R*S*C/G]. Pieces: x
//           has dense channels, and every pixel of a group starts on 16 bytes. Elements: any strides of x; lanes run
//           along pixels, and NCHW is transposed in registers on its way in.
// Mapping   A block owns kPixels of gemm_m = N*P*Q times kColumns output channels of a group, each of its warps
//           kWarpPixels x kWarpColumns. A block that sums several segments that round has a tile with a second set of
//           sums: the small ones, and of 16-bit elements the SegmentTiles. 4 neighbouring threads copy the 64 bytes of
//           a row of a step: x by a mask of the window's rows and columns that lie in the image and a walk of
//           precomputed differences, no division.
// Shared    3 or 4 stages of (kPixels + planes * kColumns) x 64 bytes, at most 48 KB, 72 for Tf32x3 in Tile128x128: all
//           but one are under way while one is multiplied, and one barrier a step hands the oldest to the copies.
//           Rows are swizzled.
// Requires  R and S of at most 32; for Pieces C/G times the size of an element a multiple of 16 bytes; R*S*C/G below
//           2^31 - 64 and K of at most 2^31 - 128, past which a tile counts 127 columns; H and W with their padding
//           below 2^31; fewer than 2^31 blocks; of integers no sum that can pass 2^31 - 1; of float32 no precision
//           "strict", and R*S*C/G of at least 96 for Tf32x3.
// Cost      2 * N*P*Q * K * R*S*C/G operations, 3 times as many for Tf32x3; x is read K/kColumns times per tap and
//           weight gemm_m/kPixels times, from L2.
#pragma once

#include "atrous/element_loader.cuh"
#include "atrous/partial_sums.cuh"
#include "atrous/warp_output.cuh"

namespace atrous {

// Segments need a second set of sums, which not every tile leaves registers for. Integers are the same in any order.
template <class Mma, class Tile>
constexpr bool kSumsSegments = Tile::kSegments && sizeof(typename Mma::Element) > 1;

template <class Mma, class Tile>
struct GemmShared {
  static constexpr int kStages = kGemmStages<Mma, Tile>;
  struct Output {
    OutputPlace place[Tile::kPixels];
    typename Mma::Sum stage[Tile::kWarps][kWarpStageElements<Tile::kM, Tile::kN>];
  };
  union alignas(16) {  // as dynamic shared memory starts
    GemmStage<Mma, Tile> stage[kStages];
    Output output;
  };
};

// The sums of gemm_k's steps from first_step up to, and without, end_step.
template <class Mma, class Loader, class Tile, class Block>
__device__ __forceinline__ WarpSums<Mma, Tile> sum_steps(const GemmArguments& a, const Block& block,
                                                         GemmShared<Mma, Tile>& shared, int first_step, int end_step) {
  constexpr int kStages = GemmShared<Mma, Tile>::kStages;
  typename Loader::template Loader<Mma, Tile> x(a, block, first_step);
  WeightLoader<Mma, Tile> weight(a, block, first_step);
  int next = first_step;
  // A group of copies for every step, past the last one an empty group, so that the number to wait for never changes.
  const auto start = [&](GemmStage<Mma, Tile>& stage) {
    if (next < end_step) {
      x.start(a.conv, stage);
      weight.start(stage);
    }
    ++next;
    prims::commit_copies();
  };
  // What the loader holds of the step that was last started.
  const auto finish = [&](GemmStage<Mma, Tile>& stage) {
    if (next <= end_step) x.finish(stage);
  };
  WarpSums<Mma, Tile> sums, total;
  sums.clear();
  if constexpr (kSumsSegments<Mma, Tile>) total.clear();
#pragma unroll
  for (int stage = 0; stage < kStages - 1; ++stage) {
    start(shared.stage[stage]);
    finish(shared.stage[stage]);
  }
  int reading = 0, writing = kStages - 1, segment_left = a.segment_steps;
#pragma unroll 1
  for (int step = first_step; step < end_step; ++step) {
    prims::wait_copies<kStages - 2>();
    prims::sync_block();  // all threads' copies of this step are there, and all warps have read the oldest stage
    start(shared.stage[writing]);
    sums.multiply(shared.stage[reading]);
    finish(shared.stage[writing]);
    reading = reading == kStages - 1 ? 0 : reading + 1;
    writing = writing == kStages - 1 ? 0 : writing + 1;
    if constexpr (kSumsSegments<Mma, Tile>) {
      if (--segment_left == 0) {
        total.add(sums);
        sums.clear();
        segment_left = a.segment_steps;
      }
    }
  }
  if constexpr (kSumsSegments<Mma, Tile>) {
    total.add(sums);
    return total;
  } else {
    return sums;
  }
}

// Takes from every column what the zero point of x put too much into it. The sums of the weights' rows lie behind them;
// differences wrap, and so have the sums, but not what is left.
template <class Mma, class Tile>
__device__ __forceinline__ void subtract_zero_point(const GemmArguments& a, const GemmBlock& block,
                                                    WarpSums<Mma, Tile>& sums) {
  const uint8* rows = static_cast<const uint8*>(a.conv.weight);
  const int32* row_sums = reinterpret_cast<const int32*>(rows + Mma::kWeightPlanes * a.weight_plane);  // [K]
#pragma unroll
  for (int column = 0; column < 2 * Tile::kN; ++column) {
    const int k = block.first_column + warp_column<Tile>() + column / 2 * 8 + prims::lane_id() % 4 * 2 + column % 2;
    const unsigned excess = k < block.column_end ? static_cast<unsigned>(row_sums[k]) * a.conv.x_zero_point : 0;
#pragma unroll
    for (int i = 0; i < Tile::kM; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        auto& sum = sums.value[i][column / 2][2 * half + column % 2];
        sum = static_cast<typename Mma::Sum>(static_cast<unsigned>(sum) - excess);
      }
    }
  }
}

template <class Mma, class Loader, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, kGemmBlocks<Mma, Tile> - Loader::template kBlocksLess<Mma>)
    conv_igemm_sm80(const __grid_constant__ GemmArguments a) {
  using Shared = GemmShared<Mma, Tile>;
  Shared& shared = *reinterpret_cast<Shared*>(prims::dynamic_shared());
  const GemmShare share = gemm_share(a, ceil_divide(a.conv.r * a.conv.s * a.tap_pieces, kStepPieces));
  const GemmBlock block = gemm_block<Tile>(a.conv, share.number);
  WarpSums<Mma, Tile> sums = sum_steps<Mma, Loader, Tile>(a, block, shared, share.first_step, share.end_step);
  if constexpr (sizeof(typename Mma::Element) == 1) {
    if (a.conv.x_zero_point != 0 && share.segment == 0) subtract_zero_point(a, block, sums);  // from the first alone
  }
  prims::wait_copies<0>();
  if (a.segment_blocks != 0) return store_partial_sums<Mma, Tile>(a.conv, block, share.segment, sums);
  prims::sync_block();  // every warp has read the last stage
  for (int pixel = threadIdx.x; pixel < block.pixels; pixel += Tile::kThreads) {
    const OutputPixelPlace place = block.place(a.conv, pixel);
    const auto offset = [&](const int64(&stride)[4]) {
      return place.n * stride[0] + place.p * stride[1] + place.q * stride[2];
    };
    shared.output.place[pixel] = {offset(a.conv.y_stride), offset(a.conv.residual_stride)};
  }
  prims::sync_block();
  const int pixel = warp_pixel<Tile>();
  write_warp_sums<Tile::kM, Tile::kN>(a.conv, sums.value, shared.output.stage[threadIdx.x / 32],
                                      shared.output.place + pixel, block.pixels - pixel,
                                      block.first_column + warp_column<Tile>(), block.column_end);
}

}  // namespace atrous
