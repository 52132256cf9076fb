// What conv_grouped stages: rows of x by groups of channels, the weights of a slab, and how they get there.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/grouped_arguments.hpp"
#include "atrous/prims/async_copy.cuh"
#include "atrous/row_items.cuh"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kGroupedWindow = 3;  // R and S
constexpr int kGroupedThreads = 128;
constexpr int kGroupedPixels = 32;  // neighbouring output columns of a warp: two products of 16
constexpr int kGroupedTiles = 2;    // tiles of 8 output channels of a warp: 32 bytes of y for each pixel
constexpr int kTileChannels = 8;    // of a tile, and of a piece of 16 bytes

// How the channels of a group are multiplied: in pieces of 8, with zeros behind the last one. The depth of a filter row
// counts (s, piece), two pieces a step; of an odd number the last step has half its depth. kBlocks share the registers
// of a multiprocessor.
template <int kPieces_, int kBlocks_>
struct PiecesOfGroup {
  static constexpr bool kHalves = false;
  static constexpr int kPieces = kPieces_;                     // of the tiles of a group, of a cell
  static constexpr int kRowPieces = kGroupedWindow * kPieces;  // of a filter row
  static constexpr int kSteps = ceil_divide(kRowPieces, 2);
  static constexpr int kUnits = kGroupedTiles;  // of a warp, each with the x of one group
  static constexpr int kBlocks = kBlocks_;
};
using GroupsOf8 = PiecesOfGroup<1, 3>;
using GroupsOf16 = PiecesOfGroup<2, 3>;
using GroupsOf24 = PiecesOfGroup<3, 2>;
using GroupsOf32 = PiecesOfGroup<4, 2>;

// Two groups of 4 channels share a piece, and mostly a tile. Zeros among the weights would not keep an infinity of one
// group from the other. So a tile is multiplied twice, by the x of either group alone, and each half of it is taken
// from where the group is its own. The depth of a filter row is 4 taps of 4 channels, the last of them zero.
struct GroupsOf4 {
  static constexpr bool kHalves = true;
  static constexpr int kPieces = 1, kRowPieces = 2, kSteps = 1, kUnits = 2 * kGroupedTiles, kBlocks = 3;
};

// Output channels of a tile: the first, and how many there are.
struct TileChannels {
  int first, count;
};

// tile: counted over all groups
template <class Groups>
__device__ __forceinline__ TileChannels channels_of(const GroupedArguments& a, int tile) {
  const ConvArguments& conv = a.conv;
  if constexpr (Groups::kHalves) {
    return {kTileChannels * tile, max(0, min(conv.k - kTileChannels * tile, kTileChannels))};
  } else {
    const int each = conv.k / conv.groups, group = tile / a.group_units;
    const int first = (tile - group * a.group_units) * kTileChannels;
    return {group * each + first, group < conv.groups ? min(each - first, kTileChannels) : 0};
  }
}

// The first piece of a cell that a slab reads; those of all groups are counted.
template <class Groups>
__device__ __forceinline__ int first_piece_of(const GroupedArguments& a, int slab) {
  return slab * a.slab_tiles / a.group_units * Groups::kPieces;
}

// The place of a piece in a staged row. Pieces of a cell change places, so that 8 neighbouring places, which ldmatrix
// reads, and 8 pieces that follow each other, which neighbouring threads write, fall on the 128 bytes of all banks.
__device__ __forceinline__ int grouped_place(const GroupedArguments& a, int place, int piece) {
  const int turn = place >> (3 - a.bank_bits) & ((1 << a.bank_bits) - 1);
  return place * a.cell_pieces + (piece ^ turn);
}

// The place of a cell of a row: with a stride of 2 every second cell follows behind the others.
__device__ __forceinline__ int grouped_cell(const GroupedArguments& a, int cell) {
  return a.column_stride == 1 ? cell : cell % 2 * a.plane_cells + cell / 2;
}

__device__ __forceinline__ int grouped_row_bytes(const GroupedArguments& a) {
  return a.column_stride * a.plane_cells * a.cell_pieces * 16;
}

// Rows of x on their way into the ring, chunk by chunk, ahead of the sums.
template <class T, class Groups, int kStride>
struct GroupedLoader {
  static constexpr int kAhead = kStride == 1 ? 3 : 2;  // chunks under way
  static constexpr int kRing = kAhead + 1;             // chunks: that of the sums is read once

  const GroupedArguments& a;
  uint8* ring;
  ItemWalk<GroupedArguments> walk;
  int chunk;  // of the ring
  int each;   // channels of a group
  int first_piece;
  int copied;                // bytes at a time: 16, 8, or 0 where elements come one by one
  int parts;                 // of a cell that threads take: pieces, or where 8 bytes are copied halves of them
  int cell, lane;            // the thread's first part of a row
  int cell_step, lane_step;  // and from one of its parts to the next
  int first_w, held, cells;  // of a row of the item: where it begins, the cells that windows hold, and those staged
  int firsts;                // of those: every one, or with a stride of 2 every second one from the first on

  __device__ __forceinline__ GroupedLoader(const GroupedArguments& a, uint8* ring, int slab)
      : a(a),
        ring(ring),
        walk(a),
        chunk(0),
        each(a.conv.c / a.conv.groups),
        first_piece(first_piece_of<Groups>(a, slab)),
        copied(comes_in(16)  ? 16
               : comes_in(8) ? 8
                             : 0),
        parts(copied == 8 ? 2 * a.cell_pieces : a.cell_pieces),
        first_w(0),
        held(0),
        cells(0),
        firsts(0) {
    const int thread = threadIdx.x, threads = blockDim.x;
    cell = thread / parts;
    lane = thread - cell * parts;
    cell_step = threads / parts;
    lane_step = threads - cell_step * parts;
    if (walk.steps > 0) measure();
  }

  // Whether the channels of every group of every pixel are whole aligned runs of so many bytes.
  __device__ __forceinline__ bool comes_in(int bytes) const {
    const ConvArguments& conv = a.conv;
    const int elements = bytes / static_cast<int>(sizeof(T));
    const int run = Groups::kHalves ? conv.c : each;
    return is_aligned(conv.x, bytes) && conv.x_stride[3] == 1 && run % elements == 0 &&
           conv.x_stride[0] % elements == 0 && conv.x_stride[1] % elements == 0 && conv.x_stride[2] % elements == 0;
  }

  // What no window of the item holds of the last product's pixels is zero: sums that nobody wants are made of it.
  __device__ __forceinline__ void measure() {
    first_w = walk.item.first_q * a.conv.stride_w - a.conv.pad_left;
    held = (walk.item.columns - 1) * a.column_stride + kGroupedWindow;
    cells = (ceil_divide(walk.item.columns, 16) * 16 - 1) * a.column_stride + kGroupedWindow;
    firsts = ceil_divide(cells, a.column_stride);
  }

  // A group for every chunk, with copies or without, so that the number to wait for never changes.
  __device__ __forceinline__ void start_next() {
    if (walk.steps > 0) {
#pragma unroll 1
      for (int row = 0; row < kStride; ++row) load_row(ring + (chunk * kStride + row) * grouped_row_bytes(a), row);
      walk.advance();
      if (walk.step == 0 && walk.steps > 0) measure();
    }
    prims::commit_copies();
    if (++chunk == kRing) chunk = 0;
  }

  // row: in the ring; row_number: in the chunk. A row of the last chunk that no window of the item holds is zero.
  __device__ __forceinline__ void load_row(uint8* row, int row_number) const {
    const ConvArguments& conv = a.conv;
    const RowItem& item = walk.item;
    const PaddingMode mode = static_cast<PaddingMode>(conv.padding_mode);
    const int first_h = item.first_p * conv.stride_h - conv.pad_top, below = walk.step * kStride + row_number;
    const bool is_held = below < (item.rows - 1) * kStride + kGroupedWindow;
    const int h = is_held ? source_coordinate(mode, first_h + below * conv.dilation_h, conv.h) : -1;
    const T* source = static_cast<const T*>(conv.x);  // [N, H, W, C] by x_stride
    if (h >= 0) source += item.image * conv.x_stride[0] + h * conv.x_stride[1];
    int at = cell, part = lane;
#pragma unroll 1
    while (at < cells) {
      // With a stride of 2 first every second cell, then the others: neighbouring threads write neighbouring places.
      const int in_plane = at < firsts ? at : at - firsts, number = a.column_stride * in_plane + (at >= firsts);
      const int w = h >= 0 && number < held ? source_coordinate(mode, first_w + number * conv.dilation_w, conv.w) : -1;
      const int place = at < firsts ? at : in_plane + a.plane_cells;
      const int piece = copied == 8 ? part / 2 : part, skipped = copied == 8 ? part % 2 * (kTileChannels / 2) : 0;
      T* target = reinterpret_cast<T*>(row + grouped_place(a, place, piece) * 16);
      load_part(target + skipped, source, w, first_piece + piece, skipped);
      at += cell_step;
      part += lane_step;
      if (part >= parts) {
        part -= parts;
        ++at;
      }
    }
  }

  // source: [W, C] by x_stride, a row of x; w: -1 where the cell is zero; piece: counted over all groups; skipped: its
  // channels before the part
  __device__ __forceinline__ void load_part(T* target, const T* source, int w, int piece, int skipped) const {
    const ConvArguments& conv = a.conv;
    int channel = kTileChannels * piece + skipped, channels = conv.c - channel;
    if constexpr (!Groups::kHalves) {
      const int group = piece / Groups::kPieces;
      const int first = kTileChannels * (piece - group * Groups::kPieces) + skipped;
      channel = group * each + first;
      channels = group < conv.groups ? each - first : 0;
    }
    if (w < 0) channels = 0;
    if (channels > 0) source += w * conv.x_stride[2] + channel * conv.x_stride[3];
    if (copied == 16) {
      prims::copy_async<16>(target, channels > 0 ? source : conv.x, channels > 0 ? 16 : 0);
    } else if (copied == 8) {
      prims::copy_async<8>(target, channels > 0 ? source : conv.x, channels > 0 ? 8 : 0);
    } else {
      Vec<T, kTileChannels> values = {};
#pragma unroll
      for (int i = 0; i < kTileChannels; ++i) {
        if (i < channels) values.value[i] = source[i * conv.x_stride[3]];
      }
      store_vec(target, values);
    }
  }
};

// Rows of weights in shared memory: an odd number of pieces, so that 8 neighbours lie in all banks.
template <class Groups>
constexpr int kGroupedWeightPitch = kGroupedWindow * Groups::kRowPieces | 1;

// Starts to copy the weights of a slab: [slab_tiles * 8] rows, zeros where a tile has fewer channels.
template <class Groups>
__device__ __forceinline__ void start_grouped_weights(const GroupedArguments& a, uint8* target, int slab) {
  constexpr int kPieces = kGroupedWindow * Groups::kRowPieces;
  const uint8* weight = static_cast<const uint8*>(a.conv.weight);  // [K] rows of weight_row bytes
#pragma unroll 1
  for (int i = threadIdx.x; i < a.slab_tiles * kTileChannels * kPieces; i += blockDim.x) {
    const int row = i / kPieces, piece = i - row * kPieces, column = row % kTileChannels;
    const TileChannels channels = channels_of<Groups>(a, slab * a.slab_tiles + row / kTileChannels);
    const bool valid = column < channels.count;
    const uint8* source = valid ? weight + (channels.first + column) * a.weight_row + 16 * piece : weight;
    prims::copy_async<16>(target + (row * kGroupedWeightPitch<Groups> + piece) * 16, source, valid ? 16 : 0);
  }
  prims::commit_copies();
}

}  // namespace atrous
