// A tile of convolution outputs in shared memory and its pooling: which windows a block owns, and their way to y.
//
// The outputs lie as they would in memory, rounded to the element type of y, and are pooled by the reductions of
// reductions.cuh, a window's taps in row-major order by one thread: to the bit what a pooling of that memory gives.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/reductions.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// The windows of a block, and the patch of convolution outputs that they cover. Its first row and column may lie before
// those of the image, and its last ones behind: such outputs belong to no window.
struct PooledPatch {
  int image;
  int first_row, first_column;  // of the windows, in y
  int first_p, first_q;         // of the patch, in the convolution's output

  __device__ __forceinline__ PooledPatch(const PoolArguments& pool, const PatchArguments& patch, unsigned index) {
    const unsigned in_image = static_cast<unsigned>(patch.row_patches) * patch.column_patches;
    const unsigned rest = index % in_image;
    image = static_cast<int>(index / in_image);
    first_row = static_cast<int>(rest / patch.column_patches) * patch.window_rows;
    first_column = static_cast<int>(rest % patch.column_patches) * patch.window_columns;
    first_p = first_row * pool.stride_h - pool.pad_top;
    first_q = first_column * pool.stride_w - pool.pad_left;
  }
};

// Elements from a pixel of the tile to the next: 16 bytes more than its channels, so that the rows that one instruction
// writes fall on different banks.
template <class T>
__device__ constexpr int tile_pitch(int columns) {
  return columns + 16 / static_cast<int>(sizeof(T));
}

// Pools the tile: a thread takes 16 bytes of channels of one window at a time.
template <class T, template <class> class Reduction, int kThreads>
struct TilePooling {
  using Real = typename Accumulator<T>::type;
  using Reduce = Reduction<Real>;
  static constexpr int kOwned = 16 / sizeof(T) < 8 ? 16 / sizeof(T) : 8;

  const PoolArguments& pool;
  const PatchArguments& patch;
  const PooledPatch& place;
  const T* tile;  // [patch.rows * patch.columns, pitch], shared
  int pitch;
  int first_channel, channel_end;  // of the tile

  __device__ __forceinline__ Window window_at(int row, int column) const {
    Window window{row * pool.stride_h - pool.pad_top, column * pool.stride_w - pool.pad_left, {0, 0}, {0, 0}, 0, 0};
    window.rows = taps_inside(window.start_h, pool.r, pool.dilation_h, 0, pool.h + min(0, pool.pad_bottom));
    window.columns = taps_inside(window.start_w, pool.s, pool.dilation_w, 0, pool.w + min(0, pool.pad_right));
    return window;
  }

  // cell: [kOwned], shared, of which `channels` are the tile's; the rest nobody wrote.
  __device__ __forceinline__ static Vec<T, kOwned> cells_at(const T* cell, int channels) {
    if (channels >= kOwned) return load_vec<kOwned>(cell);
    Vec<T, kOwned> cells = {};
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      if (i < channels) cells.value[i] = cell[i];
    }
    return cells;
  }

  // first: of the thread's channels, counted from the tile's
  __device__ __forceinline__ void reduce(const Window& window, int first, Reduce (&state)[kOwned]) const {
#pragma unroll
    for (int i = 0; i < kOwned; ++i) state[i].start(pool);
#pragma unroll 1
    for (int r = window.rows.first; r < window.rows.first + window.rows.count; ++r) {
      const int row = (window.start_h + r * pool.dilation_h - place.first_p) * patch.columns;
      const int column = window.start_w + window.columns.first * pool.dilation_w - place.first_q;
      const T* cell = tile + (row + column) * pitch + first;
#pragma unroll 1
      for (int s = 0; s < window.columns.count; ++s) {
        const Vec<T, kOwned> cells = cells_at(cell, channel_end - first_channel - first);
        Real x[kOwned];
#pragma unroll
        for (int i = 0; i < kOwned; ++i) x[i] = to_accumulator(cells.value[i]);
        Reduce::add(pool, state, x, typename Reduce::Tap{});
        cell += pool.dilation_w * pitch;
      }
    }
  }

  // y: [N, P, Q, K] by y_stride
  __device__ __forceinline__ void run(T* y) const {
    const int runs = ceil_divide(channel_end - first_channel, kOwned);
    const bool whole = is_aligned(y, sizeof(Vec<T, kOwned>)) && pool.y_stride[3] == 1 &&
                       (pool.y_stride[0] | pool.y_stride[1] | pool.y_stride[2] | first_channel) % kOwned == 0;
#pragma unroll 1
    for (int i = threadIdx.x; i < patch.window_rows * patch.window_columns * runs; i += kThreads) {
      const int window_index = i / runs, first = (i - window_index * runs) * kOwned;
      const int row = place.first_row + window_index / patch.window_columns;
      const int column = place.first_column + window_index % patch.window_columns;
      if (row >= pool.p || column >= pool.q) continue;
      const Window window = window_at(row, column);
      Reduce state[kOwned];
      reduce(window, first, state);
      const Real divisor = Reduce::divisor(pool, window);
      Vec<T, kOwned> results;
#pragma unroll
      for (int j = 0; j < kOwned; ++j) results.value[j] = Element<T>::from_real(state[j].finish(pool, divisor));
      const int channel = first_channel + first;
      T* target = y + place.image * pool.y_stride[0] + row * pool.y_stride[1] + column * pool.y_stride[2] +
                  channel * pool.y_stride[3];
      if (whole && channel + kOwned <= channel_end) {
        store_vec<kOwned>(target, results);
      } else {
#pragma unroll
        for (int j = 0; j < kOwned; ++j) {
          if (channel + j < channel_end) target[j * pool.y_stride[3]] = results.value[j];
        }
      }
    }
  }
};

}  // namespace atrous
