// What conv_depthwise has in shared memory, and how rows of x, weights and terms get there.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/prims/async_copy.cuh"
#include "atrous/row_items.cuh"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// A thread's sums: 4 neighbouring channels of 4 neighbouring columns, so that a weight read once meets 4 cells.
template <class T>
struct DepthwiseTile {
  static constexpr int kPiece = 16 / sizeof(T);  // channels of a piece of 16 bytes, by which x is staged
  static constexpr int kChannels = 4, kColumns = 4, kSums = kColumns * kChannels;
  static constexpr int kShares = kPiece / kChannels;  // threads that share a piece
};

using DepthwiseSums = float32[16];  // [kColumns][kChannels]

// What a block has in dynamic shared memory.
template <class T>
struct DepthwiseShared {
  int channels;     // of the slab
  T* ring;          // [ring_chunks][chunk_rows][row_pieces] pieces of 16 bytes
  float32* weight;  // [R * S][channels]
  float32* scale;   // [channels]
  float32* bias;    // [channels]

  __device__ __forceinline__ explicit DepthwiseShared(const DepthwiseArguments& a) {
    constexpr int kPiece = DepthwiseTile<T>::kPiece;
    channels = a.lanes * kPiece;
    ring = reinterpret_cast<T*>(prims::dynamic_shared());
    weight = reinterpret_cast<float32*>(ring + a.ring_chunks * a.chunk_rows * a.row_pieces * kPiece);
    scale = weight + a.conv.r * a.conv.s * channels;
    bias = scale + channels;
  }
};

// A thread's way through the pieces of a staged row, blockDim.x pieces at a time: in a cell lanes run fastest, and
// after the cells of a group stand empty pieces.
struct RowPieces {
  int lane, cell;
  int in_group;  // the cell's number in its group
  int place;     // of the piece in the row

  __device__ __forceinline__ static RowPieces of(const DepthwiseArguments& a, int piece) {
    RowPieces found;
    found.cell = piece / a.cell_lanes;
    found.lane = piece - found.cell * a.cell_lanes;
    const int group = found.cell / a.group_cells;
    found.in_group = found.cell - group * a.group_cells;
    found.place = group * a.group_pieces + found.in_group * a.cell_lanes + found.lane;
    return found;
  }

  // step: of(a, blockDim.x). Past a cell's lanes comes the next cell's place anyway.
  __device__ __forceinline__ void advance(const DepthwiseArguments& a, const RowPieces& step) {
    lane += step.lane;
    cell += step.cell;
    in_group += step.in_group;
    place += step.place;
    if (lane >= a.cell_lanes) {
      lane -= a.cell_lanes;
      ++cell;
      ++in_group;
    }
    if (in_group >= a.group_cells) {
      in_group -= a.group_cells;
      place += a.group_pieces - a.group_cells * a.cell_lanes;
    }
  }
};

// Rows of x on their way into the ring, chunk by chunk, ahead of the sums.
template <class T>
struct RowLoader {
  static constexpr int kPiece = DepthwiseTile<T>::kPiece, kColumns = DepthwiseTile<T>::kColumns;

  const DepthwiseArguments& a;
  T* ring;
  ItemWalk<DepthwiseArguments> walk;
  int chunk;  // of the ring
  int first_channel;
  bool whole;                // x comes in pieces
  RowPieces first, step;     // the thread's of a row, and from one to the next
  int first_w, held, cells;  // of a row of the item: where it begins, the cells that windows hold, and those staged

  __device__ __forceinline__ RowLoader(const DepthwiseArguments& a, T* ring, int first_channel)
      : a(a),
        ring(ring),
        walk(a),
        chunk(0),
        first_channel(first_channel),
        first(RowPieces::of(a, threadIdx.x)),
        step(RowPieces::of(a, blockDim.x)),
        first_w(0),
        held(0),
        cells(0) {
    const ConvArguments& conv = a.conv;
    whole = is_aligned(conv.x, 16) && conv.x_stride[3] == 1 && conv.c % kPiece == 0 && conv.x_stride[0] % kPiece == 0 &&
            conv.x_stride[1] % kPiece == 0 && conv.x_stride[2] % kPiece == 0;
    if (walk.steps > 0) measure();
  }

  // What no window of the item holds of the last thread's columns is zero: sums that nobody wants are made of it.
  __device__ __forceinline__ void measure() {
    first_w = walk.item.first_q * a.conv.stride_w - a.conv.pad_left;
    held = (walk.item.columns - 1) * a.column_stride + a.conv.s;
    cells = held + (kColumns - walk.item.columns % kColumns) % kColumns * a.column_stride;
  }

  // A group for every chunk, with copies or without, so that the number to wait for never changes.
  __device__ __forceinline__ void start_next() {
    if (walk.steps > 0) {
      T* target = ring + chunk * a.chunk_rows * a.row_pieces * kPiece;
#pragma unroll 1
      for (int row = 0; row < a.chunk_rows; ++row) load_row(target + row * a.row_pieces * kPiece, row);
      walk.advance();
      if (walk.step == 0 && walk.steps > 0) measure();
    }
    prims::commit_copies();
    if (++chunk == a.ring_chunks) chunk = 0;
  }

  // row: [row_pieces] pieces; number: in the chunk. A row of the last chunk that no window of the item holds is zero.
  __device__ __forceinline__ void load_row(T* row, int number) const {
    const ConvArguments& conv = a.conv;
    const RowItem& item = walk.item;
    const PaddingMode mode = static_cast<PaddingMode>(conv.padding_mode);
    const int first_h = item.first_p * conv.stride_h - conv.pad_top, below = walk.step * a.row_stride + number;
    const bool is_held = walk.step * a.chunk_rows + number < (item.rows - 1) * a.chunk_rows + conv.r;
    const int h = is_held ? source_coordinate(mode, first_h + below * conv.dilation_h, conv.h) : -1;
    const T* x = static_cast<const T*>(conv.x);  // [N, H, W, C] by x_stride
    const T* source = x + item.image * conv.x_stride[0] + h * conv.x_stride[1];
#pragma unroll 1
    for (RowPieces at = first; at.cell < cells; at.advance(a, step)) {
      const int w = at.cell < held ? source_coordinate(mode, first_w + at.cell * conv.dilation_w, conv.w) : -1;
      const int channel = first_channel + at.lane * kPiece;
      const int channels = h >= 0 && w >= 0 ? conv.c - channel : 0;
      T* target = row + at.place * kPiece;
      if (whole) {
        prims::copy_async<16>(target, channels > 0 ? source + w * conv.x_stride[2] + channel : x,
                              channels > 0 ? 16 : 0);
      } else {
        Vec<T, kPiece> piece = {};
#pragma unroll
        for (int i = 0; i < kPiece; ++i) {
          if (i < channels) piece.value[i] = source[w * conv.x_stride[2] + (channel + i) * conv.x_stride[3]];
        }
        store_vec(target, piece);
      }
    }
  }
};

// Fetches the weights and terms of a slab. Threads run along what is contiguous in the weights: taps, or channels.
template <class T>
__device__ __forceinline__ void load_slab(const DepthwiseArguments& a, const DepthwiseShared<T>& shared, int first_k) {
  const ConvArguments& conv = a.conv;
  const T* weight = static_cast<const T*>(conv.weight);  // [K, R, S, 1] by weight_stride
  const int taps = conv.r * conv.s, channels = shared.channels;
  const bool along_channels = conv.weight_stride[0] == 1;
  const int run = along_channels ? channels : taps;
#pragma unroll 4
  for (int element = threadIdx.x; element < taps * channels; element += blockDim.x) {
    const int slow = element / run, fast = element - slow * run;
    const int tap = along_channels ? slow : fast, channel = along_channels ? fast : slow;
    const int r = tap / conv.s, s = tap - r * conv.s, k = first_k + channel;
    T value = {};
    if (k < conv.k) value = weight[k * conv.weight_stride[0] + r * conv.weight_stride[1] + s * conv.weight_stride[2]];
    shared.weight[tap * channels + channel] = to_accumulator(value);
  }
  const auto term = [&](const void* terms, int type, int k) {
    return k < conv.k ? load_real<float32>(terms, static_cast<DataType>(type), k) : 0.0f;
  };
  for (int channel = threadIdx.x; channel < channels; channel += blockDim.x) {
    if (conv.scale != nullptr) shared.scale[channel] = term(conv.scale, conv.epilogue.scale_type, first_k + channel);
    if (conv.bias != nullptr) shared.bias[channel] = term(conv.bias, conv.epilogue.bias_type, first_k + channel);
  }
}

}  // namespace atrous
