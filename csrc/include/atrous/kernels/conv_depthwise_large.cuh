// conv_depthwise_large: one filter a channel of 9x9 to 31x31 taps, as products with banded matrices on tensor cores.
//
// Computes  y[n, p, q, k] = finish(sum over r, s of x[n, p - pad_top + r, q - pad_left + s, k] * weight[k, r, s]) in
//           float32: rows of the filter two by two, ascending, of each two the octets of x from left to right.
//           Of one channel and filter row, 16 output rows of 8 columns are the product of 16 rows of x and a matrix of
//           8 columns that holds the filter row in each, one place further down from column to column, between zeros.
//           A product of mma.m16n8k16 takes 8 columns of x, an octet, of the rows of two filter rows. Tiles of outputs
//           begin at multiples of 8 columns, and octets a fixed step beside them, so that an output's sum is the same
//           in any batch, strip and tile. Octets wholly in padding are left out. What is infinite or NaN in x is
//           multiplied as 0, and outputs that hold any such x or weight under their windows are summed one by one from
//           memory instead: so the bands' zeros never meet infinity, and the zeros of padding do.
// Layout    x, weight, residual and y through their element strides; written for NHWC. x comes in pieces of 16 bytes
//           where its channels are neighbours and aligned, else element by element.
// Mapping   A block owns a slab of 16 or 8 channels, a warp each, for its whole life, and so reads their weights once;
//           it goes through items: some images, a strip of output rows, a group of column tiles. A warp holds the sums
//           of kRowTiles times 16 rows, of as many images as they come from, by kTiles times 8 columns: an octet of 16
//           rows that it loads meets all tiles that need it, and a piece of the band all octets. Tile by tile the sums
//           cross shared memory, and leave as 4 channels of a pixel a thread.
// Shared    A plane of x for each channel and image, rows of octets an odd number of pieces of 16 bytes apart; the
//           bands of the slab, each row of taps between the zeros that all lanes need; two tiles of sums; the terms;
//           zeros for the rows of padding, read at the place modulo 128 bytes that the row would have. So the 8 rows of
//           a matrix fall on different banks, as do the 14 words of a band that a warp reads at a time, the sums'
//           stores of 8 bytes and their loads. Taps on their way into the bands do meet, once in a block's life.
// Requires  the layout NHWC; one channel a group, one filter a channel; float16 or bfloat16; R and S from 9 to 31;
//           stride and dilation 1; padding with zeros; K at most 2^31 - 1 - 2^16; H with its padding below 2^31, W with
//           its own below 2^31 - 8, so that the last octet ends there; mma.sync and ldmatrix; fewer than 2^31 tiles of
//           all slabs, two where one holds all rows of an image.
// Cost      2 * N*P*Q * K * R*S operations, of which the products of a tile make 2 * 16*8 * 8*octets * (R + R % 2) for
//           each octet that is not all padding: with "same" padding 0.7 to 2.7 times as many. Bytes: weight once a
//           block; y once; x once, and again the R - 1 rows between strips and the S - 1 columns between groups. A slab
//           of 8 channels reads and writes half sectors.
#pragma once

#include "atrous/depthwise_large.cuh"
#include "atrous/neighbours.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/prims/mma.cuh"

namespace atrous {

// Tiles of 8 output columns, and of 16 output rows, whose sums a warp holds.
template <int kTiles_, int kRowTiles_>
struct LargeTile {
  static constexpr int kTiles = kTiles_, kRowTiles = kRowTiles_;
};
using Columns56 = LargeTile<7, 2>;
using Columns32 = LargeTile<4, 2>;
using Columns16 = LargeTile<2, 4>;
using Columns8 = LargeTile<1, 6>;

// A part of an item whose sums are held at a time: row tiles and column tiles from these on.
struct LargePass {
  int first_row_tile, row_tiles;
  int tile, tiles;
};

__device__ __forceinline__ void multiply_octets(Element<float16>, float32 (&d)[4], const unsigned (&x)[4],
                                                const unsigned (&band)[2]) {
  prims::mma_m16n8k16_f16(d, x, band);
}
__device__ __forceinline__ void multiply_octets(Element<bfloat16>, float32 (&d)[4], const unsigned (&x)[4],
                                                const unsigned (&band)[2]) {
  prims::mma_m16n8k16_bf16(d, x, band);
}

// Where a lane reads x: of each row tile one row, under one filter row or, for the upper half of the warp, the next.
template <int kRowTiles>
struct LaneRows {
  int h[kRowTiles];           // of the item's rows of x; below 0 for ever where there is no output
  unsigned place[kRowTiles];  // in bytes, of the octet under the first of the pass

  __device__ __forceinline__ LaneRows(const LargeArguments& a, const LargeItem& item, const LargePass& pass,
                                      int channel) {
    const int lane = prims::lane_id();
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      const int index = (pass.first_row_tile + m) * kRowTile + lane % 16;
      const int image = index / item.rows, row = index - image * item.rows;
      const int own = item.first_p + row - a.conv.pad_top - item.first_h + lane / 16;
      h[m] = image < item.images ? own : -2 * kRowTile;
      const unsigned plane = image * a.image_pieces + plane_place(a, channel);
      place[m] = kLargeZeros + 16 * (plane + static_cast<unsigned>(own) * a.row_pieces + pass.tile - item.first_octet);
    }
  }

  // Rows of padding are zeros, on the banks of the row that is not there.
  __device__ __forceinline__ unsigned source(const LargeItem& item, int m) const {
    return static_cast<unsigned>(h[m]) < static_cast<unsigned>(item.bands) ? place[m] : place[m] % 128;
  }

  __device__ __forceinline__ void advance(const LargeArguments& a) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      h[m] += 2;
      place[m] += 2 * 16 * a.row_pieces;
    }
  }
};

// Two neighbouring taps of a band, from an odd element on where shift is 16.
__device__ __forceinline__ unsigned band_taps(const unsigned* word, int shift) {
  const unsigned first = load_vec<1>(word).value[0], second = load_vec<1>(word + 1).value[0];
  return static_cast<unsigned>((static_cast<unsigned long long>(second) << 32 | first) >> shift);
}

// The sums of a warp, as mma leaves them: of each tile rows lane/4 and lane/4 + 8, columns 2 (lane%4) and the next.
template <class T, class Tile>
struct BandSums {
  static constexpr int kTiles = Tile::kTiles, kRowTiles = Tile::kRowTiles;
  // Matrices of x that are loaded before the first is multiplied: one where the sums leave registers for no more.
  static constexpr int kAtOnce = kTiles * kRowTiles > 8 ? 1 : kRowTiles % 3 == 0 ? 3 : kRowTiles;
  static_assert(kRowTiles % kAtOnce == 0, "the last ones would be of no row tile");

  float32 value[kRowTiles][kTiles][4] = {};

  // Octets of x are counted from the first under the windows of the pass: tile `own` meets those from `own` on.
  __device__ __forceinline__ void add(const LargeArguments& a, const LargeShared& shared, const LargeItem& item,
                                      const LargePass& pass, int channel) {
    const int begin = max(item.first_octet - pass.tile, 0);
    const int end = min(item.first_octet + item.octets - pass.tile, pass.tiles + a.octets - 1);
    const int first_used = max(begin - pass.tiles + 1, 0), end_used = min(end, a.octets);
    LaneRows<kRowTiles> rows(a, item, pass, channel);
    // Row 2 (lane%4) of the matrix of an octet has in column lane/4 the element so far into the band.
    const int lane = prims::lane_id(), element = kOctet + lane % 4 * 2 - lane / 4, shift = element % 2 * 16;
    const unsigned* word = shared.band() + channel * shared.band_words + element / 2;
    unsigned band[kMostOctets][2] = {};
    const bool is_full = pass.row_tiles == kRowTiles && pass.tiles == kTiles && a.octets == kMostOctets;
#pragma unroll 1
    for (int r = 0; r < a.conv.r; r += 2) {
#pragma unroll
      for (int i = 0; i < kMostOctets; ++i) {
        if (i < first_used || i >= end_used) continue;
        band[i][0] = band_taps(word + i * (kOctet / 2), shift);
        band[i][1] = band_taps(word + (a.octets + i) * (kOctet / 2), shift);
      }
      if (is_full) {
        add_rows<true>(a, shared, item, pass, rows, band, begin, end);
      } else {
        add_rows<false>(a, shared, item, pass, rows, band, begin, end);
      }
      rows.advance(a);
      word += a.octets * kOctet;
    }
  }

  // kFull: every product of a tile and an octet that the text has exists, unless the octet is all padding.
  template <bool kFull>
  __device__ __forceinline__ void add_rows(const LargeArguments& a, const LargeShared& shared, const LargeItem& item,
                                           const LargePass& pass, const LaneRows<kRowTiles>& rows,
                                           const unsigned (&band)[kMostOctets][2], int begin, int end) {
    unsigned source[kRowTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) source[m] = rows.source(item, m);
#pragma unroll
    for (int octet = 0; octet < kTiles + kMostOctets - 1; ++octet) {
      if (octet < begin || octet >= end) continue;
#pragma unroll
      for (int first = 0; first < kRowTiles; first += kAtOnce) {
        unsigned x[kAtOnce][4];
#pragma unroll
        for (int m = 0; m < kAtOnce; ++m) {
          if (kFull || first + m < pass.row_tiles)
            prims::load_matrix(x[m], shared.base() + source[first + m] + 16 * octet);
        }
#pragma unroll
        for (int m = 0; m < kAtOnce; ++m) {
          if (kFull || first + m < pass.row_tiles) add_octet<kFull>(a, pass, octet, x[m], band, value[first + m]);
        }
      }
    }
  }

  template <bool kFull>
  __device__ __forceinline__ static void add_octet(const LargeArguments& a, const LargePass& pass, int octet,
                                                   const unsigned (&x)[4], const unsigned (&band)[kMostOctets][2],
                                                   float32 (&sums)[kTiles][4]) {
#pragma unroll
    for (int i = 0; i < kMostOctets; ++i) {
      const int own = octet - i;
      if (own < 0 || own >= kTiles) continue;
      if (kFull || (i < a.octets && own < pass.tiles)) multiply_octets(Element<T>{}, sums[own], x, band[i]);
    }
  }

  // target: [kTilePixels] of the warp's channel
  __device__ __forceinline__ void put(int row_tile, int tile, float32* target) const {
    const int lane = prims::lane_id();
    target += lane / 4 * kOctet + lane % 4 * 2;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int own = 0; own < kTiles; ++own) {
        if (m != row_tile || own != tile) continue;
        store_vec(target, Vec<float32, 2>{{value[m][own][0], value[m][own][1]}});
        store_vec(target + 8 * kOctet, Vec<float32, 2>{{value[m][own][2], value[m][own][3]}});
      }
    }
  }
};

// The way of sums to y: a thread has 4 channels of the same pixel of every tile.
template <class T>
struct LargeOutput {
  static constexpr int kChannels = kNeighbourChannels;

  const LargeArguments& a;
  const LargeShared& shared;
  int first_k, own_channel, pixel;
  bool y_whole, residual_whole;

  __device__ __forceinline__ LargeOutput(const LargeArguments& a, const LargeShared& shared, int first_k)
      : a(a), shared(shared), first_k(first_k) {
    const int sharing = a.channels / kChannels;
    pixel = threadIdx.x / sharing;
    own_channel = static_cast<int>(threadIdx.x - pixel * sharing) * kChannels;
    y_whole = has_pieces(a.conv.y, a.conv.y_stride);
    residual_whole = a.conv.residual != nullptr && has_pieces(a.conv.residual, a.conv.residual_stride);
  }

  // Whether the thread's channels of every pixel all exist and are neighbours in an array, aligned to their pieces.
  __device__ __forceinline__ bool has_pieces(const void* base, const int64 (&stride)[4]) const {
    const int size = bytes_of(static_cast<DataType>(a.conv.epilogue.y_type)), first = first_k + own_channel;
    return first + kChannels <= a.conv.k && lie_in_pieces(base, stride, size, first, kChannels);
  }

  // The thread's outputs of a pixel in an array.
  __device__ __forceinline__ Neighbours place(int n, int p, int q, const int64 (&stride)[4], bool whole) const {
    const int64 k = first_k + own_channel;
    return {n * stride[0] + p * stride[1] + q * stride[2] + k * stride[3], stride[3], 0, a.conv.k - static_cast<int>(k),
            whole};
  }

  // What finish_values() adds. The residual is read by the thread that writes the same outputs.
  struct Terms {
    const LargeOutput& output;
    int n, p, q;

    __device__ __forceinline__ void scale(float32 (&term)[kChannels]) const { take(output.shared.scale(), term); }
    __device__ __forceinline__ void bias(float32 (&term)[kChannels]) const { take(output.shared.bias(), term); }
    __device__ __forceinline__ void residual(float32 (&term)[kChannels]) const {
      const ConvArguments& conv = output.a.conv;
      const Neighbours from = output.place(n, p, q, conv.residual_stride, output.residual_whole);
      visit_type(static_cast<DataType>(conv.epilogue.y_type),
                 LoadNeighbours<float32, kChannels>{conv.residual, from, term});
    }

    // terms: [channels], shared
    __device__ __forceinline__ void take(const float32* terms, float32 (&term)[kChannels]) const {
      const Vec<float32, kChannels> piece = load_vec<kChannels>(terms + output.own_channel);
#pragma unroll
      for (int i = 0; i < kChannels; ++i) term[i] = piece.value[i];
    }
  };

  // Finishes a tile whose sums are there. sums: [channels][exchange_pitch]
  __device__ __forceinline__ void finish(const LargeItem& item, int row_tile, int tile, float32* sums,
                                         bool has_specials) const {
    const ConvArguments& conv = a.conv;
    const int index = row_tile * kRowTile + pixel / kOctet, image = index / item.rows;
    const int n = item.first_image + image, p = item.first_p + index - image * item.rows;
    const int q = tile * kOctet + pixel % kOctet, k = first_k + own_channel;
    if (image >= item.images || q >= conv.q || k >= conv.k) return;
    sums += own_channel * shared.exchange_pitch + pixel;
    if (has_specials) replace(n, p, q, k, sums);
    float32 value[kChannels];
#pragma unroll
    for (int i = 0; i < kChannels; ++i) value[i] = sums[i * shared.exchange_pitch];
    finish_values(conv, value, Terms{*this, n, p, q});
    const Neighbours y = place(n, p, q, conv.y_stride, y_whole);
    visit_type(static_cast<DataType>(conv.epilogue.y_type), StoreNeighbours<float32, kChannels>{conv.y, y, value});
  }

  // sums: of the thread's first channel and pixel
  __device__ __forceinline__ void replace(int n, int p, int q, int k, float32* sums) const {
#pragma unroll 1
    for (int i = 0; i < kChannels && k + i < a.conv.k; ++i) {
      float32 sum;
      if (sum_specials<T>(a.conv, n, p, q, k + i, sum)) sums[i * shared.exchange_pitch] = sum;
    }
  }
};

template <class T, class Tile>
__global__ void __launch_bounds__(kLargeThreads, 1) conv_depthwise_large(const __grid_constant__ LargeArguments a) {
  const LargeShared shared(a);
  const int first_k = blockIdx.x % a.slabs * a.channels, channel = static_cast<int>(threadIdx.x) / 32;
  clear_bands(a, shared);
  load_terms(a, shared, first_k);
  prims::sync_block();
  tell(shared.weight_special(), FilterLoader<T>(a, shared, first_k).load());
  int slot = 0, item_slot = 0;
#pragma unroll 1
  for (unsigned index = blockIdx.x / a.slabs; index < a.items; index += gridDim.x / a.slabs) {
    const LargeItem own(a, index);
    LargeItem& item = *shared.item(item_slot);
    item_slot ^= 1;
    if (threadIdx.x == 0) item = own;
    tell(shared.x_special(), PlaneLoader<T>(a, shared, first_k).stage(own));
    prims::sync_block();  // the item, its planes and the bands are there
    const bool has_specials = has_met(shared.x_special(), a.channels) || has_met(shared.weight_special(), a.channels);
    LargePass pass;
#pragma unroll 1
    for (pass.first_row_tile = 0; pass.first_row_tile < item.row_tiles(); pass.first_row_tile += Tile::kRowTiles) {
      pass.row_tiles = min(Tile::kRowTiles, item.row_tiles() - pass.first_row_tile);
#pragma unroll 1
      for (int first = 0; first < item.tiles; first += a.pass_tiles) {
        pass.tile = item.first_tile + first;
        pass.tiles = min(a.pass_tiles, item.tiles - first);
        BandSums<T, Tile> sums;
        if (first_k + channel < a.conv.k) sums.add(a, shared, item, pass, channel);
        const LargeOutput<T> output(a, shared, first_k);
#pragma unroll 1
        for (int turn = 0; turn < pass.row_tiles * pass.tiles; ++turn) {
          const int row_tile = turn / pass.tiles, tile = turn - row_tile * pass.tiles;
          float32* exchange = shared.exchange(slot);
          sums.put(row_tile, tile, exchange + channel * shared.exchange_pitch);
          prims::sync_block();  // the tile is there; every warp has left the one before, whose place the next takes
          output.finish(item, pass.first_row_tile + row_tile, pass.tile + tile, exchange, has_specials);
          slot ^= 1;
        }
      }
    }
  }
}

}  // namespace atrous
