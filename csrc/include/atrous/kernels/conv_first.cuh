// conv_first: convolution on tensor cores for few or odd channels, multiplied straight from a staged patch of x.
//
// Computes  y[n, p, q, k] = finish(sum over r, s, c of x[n, h, w, c] * weight[k, r, s, c]), where
//           h = p * stride_h - pad_top + r * dilation_h and w = q * stride_w - pad_left + s * dilation_w; of integers
//           x - zero point. float32 by one product of tf32, or by three.
// Layout    x is read and y written through strides: NHWC, NCHW and views alike. weight comes packed: gemm_k counts
//           (chunk, r, run), where a run is the (s, c) of one filter row, padded with zeros to pieces of 16 bytes; of a
//           chunk's end to a step of 4 pieces. With no channel padded to a vector, 7 x 7 x 3 takes 168 of gemm_k in 16
//           bits, where a padding to 8 channels would take 392.
// Mapping   A block owns patches of up to kPixels output pixels, one after the other, times kColumns output channels,
//           which its 4 warps share. The taps of a filter row being neighbours in the halo, a register of mma's pixels
//           is one word of it, or the end of one and the start of the next where the pixel does not begin on a word:
//           8 pixels at most 4 words apart read without bank conflicts. Past a run's end lie cells of other pixels,
//           which are masked: weights are 0 there, but 0 * NaN is NaN.
// Shared    The weights, whole if they fit 32 KB and else 4 steps that go round; 2 KB of places; the halo of a patch,
//           24 KB unless a single channel needs more, whose memory then passes the sums out.
// Requires  One group; packed weights; a halo of one word of channels of at most 64 KB; H and W with their padding
//           below 2^31; fewer than 2^31 blocks; of integers no sum that can pass 2^31 - 1.
// Cost      2 * N*P*Q * K * depth operations, depth = chunks * R * run padded to 16 bytes; x is read once for each
//           kColumns of K and, where halos overlap, from L2; weight once for each block.
#pragma once

#include "atrous/first_patch.cuh"
#include "atrous/gemm_tile.cuh"
#include "atrous/prims/async_copy.cuh"
#include "atrous/warp_output.cuh"

namespace atrous {

// For few output channels: a warp takes all columns, so that every word of the halo is read by one warp alone.
using Tile128x32 = GemmTile<128, 32, 32, 32, 4>;

constexpr int kWeightRing = 4;  // steps of weights that go round where not all of them fit
constexpr int kHaloSlack = 32;  // bytes: past the last run of a halo a lane reads less than a piece and a word

// Integers finish in float64, whose registers four blocks of a multiprocessor would not have.
template <class Mma, class Tile>
constexpr int kFirstBlocks = sizeof(typename Mma::Element) == 1 ? 3 : kGemmBlocks<Mma, Tile>;

// What a block has in dynamic shared memory.
template <class Mma, class Tile>
struct FirstShared {
  static constexpr int kSlotPieces = Mma::kWeightPlanes * Tile::kColumns * kStepPieces;
  static constexpr int kWarpStage = kWarpStageElements<Tile::kM, Tile::kN>;
  Piece* weight;       // [weight_slots][plane][column and depth by piece_place]
  OutputPlace* place;  // [kPixels]
  uint8* halo;         // and, when a patch is summed, the stage of every warp

  __device__ __forceinline__ explicit FirstShared(const FirstArguments& a) {
    unsigned char* start = prims::dynamic_shared();
    weight = reinterpret_cast<Piece*>(start);
    place = reinterpret_cast<OutputPlace*>(start + a.weight_slots * kSlotPieces * 16);
    halo = reinterpret_cast<uint8*>(place + Tile::kPixels);
  }
};

// The weights of a block on their way into the slots, step by step, for one patch. It is made anew for every patch, so
// that its counters take no registers while outputs are written.
template <class Mma, class Tile>
struct WeightSteps {
  const FirstArguments& a;
  const FirstShared<Mma, Tile>& shared;
  int first_column, chunk_pieces, chunk_steps;
  bool resident;
  int chunk, step, slot;  // to start next
  int read_slot;

  // No warp reads a slot any more. Weights that all fit are copied for the block's first patch and stay.
  __device__ __forceinline__ WeightSteps(const FirstArguments& a, const FirstShared<Mma, Tile>& shared,
                                         int first_column, bool first_patch)
      : a(a), shared(shared), first_column(first_column), chunk(0), step(0), slot(0), read_slot(0) {
    chunk_pieces = a.conv.r * a.run_pieces;
    chunk_steps = ceil_divide(chunk_pieces, kStepPieces);
    resident = a.chunks * chunk_steps == a.weight_slots;
    const int ahead = !resident ? kWeightRing - 1 : first_patch ? a.weight_slots : 0;
#pragma unroll 1
    for (int i = 0; i < ahead; ++i) start_next();
  }

  // A group for every step, with copies or without, so that the number to wait for never changes.
  __device__ __forceinline__ void start_next() {
    if (chunk < a.chunks) start_copies();
    prims::commit_copies();
    if (++slot == a.weight_slots) slot = 0;
    if (++step < chunk_steps) return;
    step = 0;
    ++chunk;
  }

  __device__ __forceinline__ void start_copies() {
    const uint8* weight = static_cast<const uint8*>(a.conv.weight);  // [planes][K] rows of weight_row bytes
    const int depth = static_cast<int>(threadIdx.x) % kStepPieces, piece = step * kStepPieces + depth;
    Piece* target = shared.weight + slot * FirstShared<Mma, Tile>::kSlotPieces;
#pragma unroll
    for (int i = 0; i < Mma::kWeightPlanes * Tile::kColumns * kStepPieces / Tile::kThreads; ++i) {
      const int row = static_cast<int>(threadIdx.x) / kStepPieces + i * (Tile::kThreads / kStepPieces);
      const int plane = row / Tile::kColumns, column = row % Tile::kColumns;
      const bool valid = first_column + column < a.conv.k && piece < chunk_pieces;
      const int64 offset = plane * a.weight_plane + (first_column + column) * a.weight_row +
                           (static_cast<int64>(chunk) * chunk_pieces + piece) * 16;
      prims::copy_async<16>(target[plane * Tile::kColumns * kStepPieces + piece_place(column, depth)],
                            valid ? weight + offset : weight, valid ? 16 : 0);
    }
  }

  // Waits until the next step's weights are there; at a chunk's first step its halo is then there too.
  __device__ __forceinline__ void begin_step(bool first_of_chunk) {
    if (resident) {
      if (!first_of_chunk) return;
      prims::wait_copies<0>();
      prims::sync_block();
    } else {
      prims::wait_copies<kWeightRing - 2>();
      prims::sync_block();
      start_next();
    }
  }

  __device__ __forceinline__ const Piece* next_slot() {
    const Piece* found = shared.weight + read_slot * FirstShared<Mma, Tile>::kSlotPieces;
    if (++read_slot == a.weight_slots) read_slot = 0;
    return found;
  }
};

// The pieces of a chunk's runs in the order of gemm_k, as every lane counts them.
struct RunWalk {
  int offset;  // bytes from a window's first cell
  int piece;   // of the run
  int run;

  __device__ __forceinline__ void advance(const FirstArguments& a) {
    offset += 16;
    if (++piece < a.run_pieces) return;
    piece = 0;
    ++run;
    // Past the last run nothing counts, but it is read: from where cells are.
    offset = run < a.conv.r ? run * a.tap_rows * a.row_bytes : 0;
  }
};

// The words of a lane: of the pixels lane / 4 + 8 i of its warp, the word lane % 4 of a piece.
template <class Mma, class Tile>
struct HaloReader {
  static constexpr int kPixels = 2 * Tile::kM;
  const uint8* halo;
  int start[kPixels];  // bytes from the halo's start, for the first piece
  unsigned end_mask;   // bits of the word that belong to the run, in its last piece
  bool shifted;        // some pixels begin within a word

  __device__ __forceinline__ HaloReader(const FirstArguments& a, const Patch& patch, const uint8* halo) : halo(halo) {
    using Element = typename Mma::Element;
    constexpr int kSize = sizeof(Element);
    const int run_bytes = a.conv.s * a.channels * kSize - (a.run_pieces - 1) * 16;
    const int left = run_bytes - prims::lane_id() % 4 * 4;
    end_mask = left >= 4 ? ~0u : left <= 0 ? 0u : (1u << 8 * left) - 1;
    // Neighbouring pixels begin stride_w columns apart; where columns are regrouped by their phase, any number.
    const int step = a.conv.dilation_w == 1 ? a.conv.stride_w : 1;
    shifted = step * a.channels * kSize % 4 != 0;
    const int lane = prims::lane_id(), pixels = patch.rows * patch.columns;
#pragma unroll
    for (int i = 0; i < kPixels; ++i) {
      const int index = warp_pixel<Tile>() + lane / 4 + 8 * i;
      const int pixel = index < pixels ? index : 0;  // the sums of what is no pixel go nowhere
      const int row = pixel / patch.columns;
      start[i] = window_offset<typename Mma::Element>(a, row, pixel - row * patch.columns) + lane % 4 * 4;
    }
  }

  // Fills the registers of one piece: half 0 or 1 of the depth of an mma.
  __device__ __forceinline__ void read(const FirstArguments& a, const RunWalk& walk, int half,
                                       unsigned (&x)[Tile::kM][Mma::kPixelPlanes][4]) const {
    const unsigned mask = walk.run >= a.conv.r ? 0u : walk.piece == a.run_pieces - 1 ? end_mask : ~0u;
    if (shifted) {
#pragma unroll
      for (int i = 0; i < kPixels; ++i) {
        const int place = start[i] + walk.offset;
        const unsigned word = __funnelshift_r(word_at(place & ~3), word_at((place & ~3) + 4), 8 * place);
        x[i / 2][0][i % 2 + 2 * half] = word & mask;
      }
    } else {
#pragma unroll
      for (int i = 0; i < kPixels; ++i) x[i / 2][0][i % 2 + 2 * half] = word_at(start[i] + walk.offset) & mask;
    }
  }

  __device__ __forceinline__ unsigned word_at(int place) const {
    prims::require_aligned(halo + place, 4);
    return *reinterpret_cast<const unsigned*>(halo + place);
  }
};

// Adds the products of one step, in ascending order of depth. weight: a slot
template <class Mma, class Tile>
__device__ __forceinline__ void multiply_first_step(const FirstArguments& a, WarpSums<Mma, Tile>& sums,
                                                    const HaloReader<Mma, Tile>& reader, RunWalk& walk,
                                                    const Piece* weight) {
  const int lane = prims::lane_id();
#pragma unroll
  for (int half = 0; half < kStepPieces / 2; ++half) {
    unsigned x[Tile::kM][Mma::kPixelPlanes][4];
#pragma unroll
    for (int piece = 0; piece < 2; ++piece) {
      reader.read(a, walk, piece, x);
      walk.advance(a);
    }
#pragma unroll
    for (int i = 0; i < Tile::kM; ++i) Mma::split(x[i]);
#pragma unroll
    for (int j = 0; j < Tile::kN / 2; ++j) {
      // Matrices 0 and 1: columns 0 to 7, both pieces of the depth; 2 and 3: columns 8 to 15.
      const int column = warp_column<Tile>() + 16 * j + lane / 16 * 8 + lane % 8;
      unsigned matrix[Mma::kWeightPlanes][4];
#pragma unroll
      for (int plane = 0; plane < Mma::kWeightPlanes; ++plane)
        prims::load_matrix(matrix[plane],
                           weight[plane * Tile::kColumns * kStepPieces + piece_place(column, 2 * half + lane / 8 % 2)]);
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        unsigned columns[Mma::kWeightPlanes][2];
#pragma unroll
        for (int plane = 0; plane < Mma::kWeightPlanes; ++plane) {
          columns[plane][0] = matrix[plane][2 * side];
          columns[plane][1] = matrix[plane][2 * side + 1];
        }
#pragma unroll
        for (int i = 0; i < Tile::kM; ++i) Mma::add(sums.value[i][2 * j + side], x[i], columns);
      }
    }
  }
}

// Takes zero point * (sum of the row's weights) off every sum: what remains is the sum over x - zero point.
// first_column: of the warp
template <class Mma, class Tile>
__device__ __forceinline__ void centre_sums(const FirstArguments& a, WarpSums<Mma, Tile>& sums, int first_column) {
  if constexpr (sizeof(typename Mma::Element) == 1) {
    if (a.conv.x_zero_point == 0) return;
    const uint8* weight = static_cast<const uint8*>(a.conv.weight);
    const int32* row_sum = reinterpret_cast<const int32*>(weight + a.weight_sums);  // [K]
#pragma unroll
    for (int j = 0; j < Tile::kN; ++j) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int k = first_column + 8 * j + 2 * (prims::lane_id() % 4) + e;
        // Unsigned: only the difference is sure to fit 32 bits.
        const unsigned shift = k < a.conv.k ? static_cast<unsigned>(a.conv.x_zero_point) * row_sum[k] : 0u;
#pragma unroll
        for (int i = 0; i < 2 * Tile::kM; ++i) {
          int32& sum = sums.value[i / 2][j][2 * (i % 2) + e];
          sum = static_cast<int32>(static_cast<unsigned>(sum) - shift);
        }
      }
    }
  }
}

__device__ __forceinline__ OutputPlace output_place(const ConvArguments& a, const Patch& patch, int pixel) {
  const int inside = min(pixel, patch.rows * patch.columns - 1), row = inside / patch.columns;
  const int64 n = patch.image, p = patch.first_p + row, q = patch.first_q + inside - row * patch.columns;
  const auto offset = [&](const int64(&stride)[4]) { return n * stride[0] + p * stride[1] + q * stride[2]; };
  return {offset(a.y_stride), offset(a.residual_stride)};
}

// Zeros wherever a lane may read: past a run's end it reads cells that are masked, and that no patch need stage.
template <int kThreads>
__device__ __forceinline__ void clear_halo(const FirstArguments& a, uint8* halo) {
  const int pieces = ceil_divide(a.halo_rows * a.row_bytes + kHaloSlack, 16);
#pragma unroll 1
  for (int i = threadIdx.x; i < pieces; i += kThreads)
    store_vec(reinterpret_cast<unsigned*>(halo + 16 * i), Vec<unsigned, 4>{0, 0, 0, 0});
  prims::sync_block();
}

// Sums a patch, whose halo is staged chunk by chunk.
template <class Mma, class Tile>
__device__ __forceinline__ void sum_patch(const FirstArguments& a, const FirstShared<Mma, Tile>& shared,
                                          const Patch& patch, WeightSteps<Mma, Tile> weights,
                                          WarpSums<Mma, Tile>& sums) {
  using Element = typename Mma::Element;
  const HaloReader<Mma, Tile> reader(a, patch, shared.halo);
  sums.clear();
#pragma unroll 1
  for (int chunk = 0; chunk < a.chunks; ++chunk) {
    if (chunk > 0) prims::sync_block();  // the last chunk's halo is read
    HaloLoader<Element, Tile::kThreads>{a, patch, chunk * a.channels}.run(reinterpret_cast<Element*>(shared.halo));
    RunWalk walk = {0, 0, 0};
#pragma unroll 1
    for (int step = 0; step < weights.chunk_steps; ++step) {
      weights.begin_step(step == 0);
      multiply_first_step<Mma, Tile>(a, sums, reader, walk, weights.next_slot());
    }
  }
}

template <class Mma, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, kFirstBlocks<Mma, Tile>)
    conv_first(const __grid_constant__ FirstArguments a) {
  const FirstShared<Mma, Tile> shared(a);
  const int column_tiles = ceil_divide(a.conv.k, Tile::kColumns);
  const int first_column = blockIdx.x % column_tiles * Tile::kColumns;
  const unsigned together = gridDim.x / column_tiles;  // patches that are under way
  clear_halo<Tile::kThreads>(a, shared.halo);
#pragma unroll 1
  for (unsigned index = blockIdx.x / column_tiles; index < a.patches; index += together) {
    if (index >= together) prims::sync_block();  // the stage is written out, the slots are read
    const Patch patch = patch_at(a, index);
    if (threadIdx.x < Tile::kPixels) shared.place[threadIdx.x] = output_place(a.conv, patch, threadIdx.x);
    WarpSums<Mma, Tile> sums;
    sum_patch<Mma, Tile>(a, shared, patch, WeightSteps<Mma, Tile>(a, shared, first_column, index < together), sums);
    centre_sums<Mma, Tile>(a, sums, first_column + warp_column<Tile>());
    prims::sync_block();  // the halo is read: its memory becomes the stages of the warps
    auto* stage = reinterpret_cast<typename Mma::Sum*>(shared.halo) +
                  static_cast<int>(threadIdx.x) / 32 * FirstShared<Mma, Tile>::kWarpStage;
    const int first_pixel = warp_pixel<Tile>();
    const int pixels = max(0, min(patch.rows * patch.columns - first_pixel, Tile::kWarpPixels));
    write_warp_sums<Tile::kM, Tile::kN>(a.conv, sums.value, stage, shared.place + first_pixel, pixels,
                                        first_column + warp_column<Tile>(), a.conv.k);
  }
}

}  // namespace atrous
