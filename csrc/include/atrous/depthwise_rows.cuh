// What conv_depthwise has in shared memory, and how rows of x, weights and terms get there.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/prims/async_copy.cuh"
#include "atrous/types.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// A thread's piece of channels, and its columns: 16 sums.
template <class T>
struct DepthwiseTile {
  static constexpr int kChannels = 16 / sizeof(T);
  static constexpr int kColumns = 16 / kChannels;
  static constexpr int kQuarters = kChannels / 4;  // pieces of 4 floats of its weights
};

template <class T>
using DepthwiseSums = float32[DepthwiseTile<T>::kColumns][DepthwiseTile<T>::kChannels];

// Output rows and columns of one phase: the first, and how many.
struct DepthwiseItem {
  int image;
  int first_p, first_q;
  int rows, columns;
};

// The items of a block, and the steps of each: a step takes a chunk and, but for the first a.lead, gives an output row.
struct ItemWalk {
  const DepthwiseArguments& a;
  unsigned next;
  DepthwiseItem item;
  int step, steps;  // steps is 0 when no item is left

  __device__ __forceinline__ explicit ItemWalk(const DepthwiseArguments& a) : a(a), next(blockIdx.x / a.slabs) {
    find();
  }

  __device__ __forceinline__ void advance() {
    if (++step == steps) find();
  }

  // Phases may have one output less than the first one: the last tile or strip of theirs may be empty.
  __device__ __forceinline__ void find() {
    step = steps = 0;
    while (steps == 0 && next < a.items) {
      item = decode(next);
      next += gridDim.x / a.slabs;
      if (item.rows > 0 && item.columns > 0) steps = item.rows + a.lead;
    }
  }

  __device__ __forceinline__ DepthwiseItem decode(unsigned rest) const {
    const ConvArguments& conv = a.conv;
    const auto digit = [&rest](int size) {
      const unsigned value = rest % size;
      rest /= size;
      return static_cast<int>(value);
    };
    const int column = digit(a.column_tiles) * a.tile_columns, row = digit(a.strips) * a.strip_rows;
    const int phase_q = digit(a.phases_w), phase_p = digit(a.phases_h);
    const int columns = ceil_divide(conv.q - phase_q, a.apart_w) - column;
    const int rows = ceil_divide(conv.p - phase_p, a.apart_h) - row;
    return {static_cast<int>(rest), phase_p + row * a.apart_h, phase_q + column * a.apart_w, min(rows, a.strip_rows),
            min(columns, a.tile_columns)};
  }
};

// What a block has in dynamic shared memory.
template <class T>
struct DepthwiseShared {
  T* ring;          // [ring_chunks][chunk_rows][row_pieces] pieces of 16 bytes
  float32* weight;  // [R * S][kQuarters][lanes][4]
  float32* scale;   // [lanes * kChannels]
  float32* bias;    // [lanes * kChannels]

  __device__ __forceinline__ explicit DepthwiseShared(const DepthwiseArguments& a) {
    constexpr int kChannels = DepthwiseTile<T>::kChannels;
    ring = reinterpret_cast<T*>(prims::dynamic_shared());
    weight = reinterpret_cast<float32*>(ring + a.ring_chunks * a.chunk_rows * a.row_pieces * kChannels);
    scale = weight + a.conv.r * a.conv.s * a.lanes * kChannels;
    bias = scale + a.lanes * kChannels;
  }
};

// Elements from the start of a staged row to a piece of a cell.
template <class T>
__device__ __forceinline__ int staged_piece(const DepthwiseArguments& a, int cell, int lane) {
  const int group = cell / a.group_cells;
  const int piece = group * a.group_pieces + (cell - group * a.group_cells) * a.cell_lanes + lane;
  return piece * DepthwiseTile<T>::kChannels;
}

// Rows of x on their way into the ring, chunk by chunk, ahead of the sums.
template <class T>
struct RowLoader {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels, kColumns = DepthwiseTile<T>::kColumns;

  const DepthwiseArguments& a;
  T* ring;
  ItemWalk walk;
  int chunk;  // of the ring
  int first_channel;
  bool whole;                                        // x comes in pieces
  int first_cell, first_lane, cell_step, lane_step;  // the pieces of a row that are the thread's

  __device__ __forceinline__ RowLoader(const DepthwiseArguments& a, T* ring, int first_channel)
      : a(a), ring(ring), walk(a), chunk(0), first_channel(first_channel) {
    const ConvArguments& conv = a.conv;
    whole = is_aligned(conv.x, 16) && conv.x_stride[3] == 1 && conv.c % kChannels == 0 &&
            conv.x_stride[0] % kChannels == 0 && conv.x_stride[1] % kChannels == 0 && conv.x_stride[2] % kChannels == 0;
    first_cell = threadIdx.x / a.cell_lanes;
    first_lane = threadIdx.x % a.cell_lanes;
    cell_step = blockDim.x / a.cell_lanes;
    lane_step = blockDim.x % a.cell_lanes;
  }

  // A group for every chunk, with copies or without, so that the number to wait for never changes.
  __device__ __forceinline__ void start_next() {
    if (walk.steps > 0) {
      T* target = ring + chunk * a.chunk_rows * a.row_pieces * kChannels;
#pragma unroll 1
      for (int row = 0; row < a.chunk_rows; ++row) load_row(target + row * a.row_pieces * kChannels, row);
      walk.advance();
    }
    prims::commit_copies();
    if (++chunk == a.ring_chunks) chunk = 0;
  }

  // row: [row_pieces] pieces; number: in the chunk. What no window of the item holds, of the last chunk's rows and of
  // the last thread's columns, is zero: sums that nobody wants are made of it.
  __device__ __forceinline__ void load_row(T* row, int number) const {
    const ConvArguments& conv = a.conv;
    const DepthwiseItem& item = walk.item;
    const PaddingMode mode = static_cast<PaddingMode>(conv.padding_mode);
    const int first_w = item.first_q * conv.stride_w - conv.pad_left;
    const int held = (item.columns - 1) * a.column_stride + conv.s;  // cells
    const int missing = (kColumns - item.columns % kColumns) % kColumns, cells = held + missing * a.column_stride;
    const int first_h = item.first_p * conv.stride_h - conv.pad_top, below = walk.step * a.row_stride + number;
    const bool is_held = walk.step * a.chunk_rows + number < (item.rows - 1) * a.chunk_rows + conv.r;
    const int h = is_held ? source_coordinate(mode, first_h + below * conv.dilation_h, conv.h) : -1;
    const T* x = static_cast<const T*>(conv.x);  // [N, H, W, C] by x_stride
    const T* source = x + item.image * conv.x_stride[0] + h * conv.x_stride[1];
    int lane = first_lane;
#pragma unroll 1
    for (int cell = first_cell; cell < cells; cell += cell_step) {
      const int w = cell < held ? source_coordinate(mode, first_w + cell * conv.dilation_w, conv.w) : -1;
      const int channel = first_channel + lane * kChannels;
      const int channels = h >= 0 && w >= 0 ? conv.c - channel : 0;
      T* target = row + staged_piece<T>(a, cell, lane);
      if (whole) {
        prims::copy_async<16>(target, channels > 0 ? source + w * conv.x_stride[2] + channel : x,
                              channels > 0 ? 16 : 0);
      } else {
        Vec<T, kChannels> piece = {};
#pragma unroll
        for (int i = 0; i < kChannels; ++i) {
          if (i < channels) piece.value[i] = source[w * conv.x_stride[2] + (channel + i) * conv.x_stride[3]];
        }
        store_vec(target, piece);
      }
      lane += lane_step;
      if (lane >= a.cell_lanes) {
        lane -= a.cell_lanes;
        ++cell;
      }
    }
  }
};

// Fetches the weights and terms of a slab. Threads run along what is contiguous in the weights: taps, or channels.
template <class T>
__device__ __forceinline__ void load_slab(const DepthwiseArguments& a, const DepthwiseShared<T>& shared, int first_k) {
  constexpr int kChannels = DepthwiseTile<T>::kChannels, kQuarters = DepthwiseTile<T>::kQuarters;
  const ConvArguments& conv = a.conv;
  const T* weight = static_cast<const T*>(conv.weight);  // [K, R, S, 1] by weight_stride
  const int taps = conv.r * conv.s, channels = a.lanes * kChannels;
  const bool along_channels = conv.weight_stride[0] == 1;
  const int run = along_channels ? channels : taps;
#pragma unroll 4
  for (int element = threadIdx.x; element < taps * channels; element += blockDim.x) {
    const int slow = element / run, fast = element - slow * run;
    const int tap = along_channels ? slow : fast, channel = along_channels ? fast : slow;
    const int r = tap / conv.s, s = tap - r * conv.s, k = first_k + channel, part = channel % kChannels;
    T value = {};
    if (k < conv.k) value = weight[k * conv.weight_stride[0] + r * conv.weight_stride[1] + s * conv.weight_stride[2]];
    const int piece = (tap * kQuarters + part / 4) * a.lanes + channel / kChannels;
    shared.weight[piece * 4 + part % 4] = to_accumulator(value);
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
