// Patches of output pixels and their halos: where a pixel reads, and how a block stages the cells that its pixels read.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/prims/block.cuh"
#include "atrous/types.cuh"

namespace atrous {

// The output pixels of a block, counted along their rows. Those at the edges of y have fewer rows or columns.
struct Patch {
  int image, first_p, first_q;
  int rows, columns;
};

__device__ __forceinline__ Patch patch_at(const FirstArguments& a, unsigned index) {
  const int in_image = a.row_patches * a.column_patches;
  const int image = static_cast<int>(index) / in_image, rest = static_cast<int>(index) - image * in_image;
  const int first_p = rest / a.column_patches * a.patch_rows, first_q = rest % a.column_patches * a.patch_columns;
  return {image, first_p, first_q, min(a.patch_rows, a.conv.p - first_p), min(a.patch_columns, a.conv.q - first_q)};
}

// Bytes from the start of the halo to the first cell of a pixel's window. Its next tap of a row is the cell that
// follows, its next row lies tap_rows rows further.
template <class T>
__device__ __forceinline__ int window_offset(const FirstArguments& a, int row, int column) {
  const int cell = column * a.conv.stride_w;
  const int phase = cell % a.conv.dilation_w, position = cell / a.conv.dilation_w;
  const int place = (phase * a.phase_columns + position) * a.channels;
  return row * a.conv.stride_h * a.row_bytes + place * static_cast<int>(sizeof(T));
}

// A cell of padding, which for an integer x is its zero point.
template <class T>
__device__ __forceinline__ T outside_cell(int) {
  return T{};
}
template <>
__device__ __forceinline__ int8 outside_cell<int8>(int zero_point) {
  return static_cast<int8>(zero_point);
}
template <>
__device__ __forceinline__ uint8 outside_cell<uint8>(int zero_point) {
  return static_cast<uint8>(zero_point);
}

// What a thread stages: one channel of one column of the halo, in one row after another.
template <class T>
struct HaloCell {
  int64 offset;  // in x, of row 0
  int target;    // element in row 0 of the halo, or -1: between the taps of every pixel
  T outside;     // what stands where x has nothing
  bool inside;
};

// Stages the halo of one chunk. Neighbouring threads take neighbouring addresses of a row of x, be they channels or
// columns, and find their place in it once for all rows.
template <class T, int kThreads>
struct HaloLoader {
  static constexpr int kBatch = 8;  // loads that a thread has under way

  const FirstArguments& a;
  const Patch& patch;
  int first_channel;

  // No padding mode says what lies beyond the last cell that a window of y holds.
  __device__ __forceinline__ static int source(const ConvArguments& conv, int i, int last, int extent) {
    return i > last ? -1 : source_coordinate(static_cast<PaddingMode>(conv.padding_mode), i, extent);
  }

  __device__ __forceinline__ HaloCell<T> cell_at(int element) const {
    const ConvArguments& conv = a.conv;
    const int run = a.channels_first ? a.halo_columns : a.channels;
    const int slow = element / run, fast = element - slow * run;
    const int column = a.channels_first ? fast : slow, channel = a.channels_first ? slow : fast;
    const int position = conv.dilation_w == 1 ? column : column / conv.dilation_w;
    const int phase = column - position * conv.dilation_w;
    const int last = (conv.q - 1) * conv.stride_w - conv.pad_left + (conv.s - 1) * conv.dilation_w;
    const int w = source(conv, patch.first_q * conv.stride_w - conv.pad_left + column, last, conv.w);
    const bool real = first_channel + channel < conv.c;
    HaloCell<T> cell;
    cell.offset = patch.image * conv.x_stride[0] + w * conv.x_stride[2] + (first_channel + channel) * conv.x_stride[3];
    cell.target = phase < a.phases ? (phase * a.phase_columns + position) * a.channels + channel : -1;
    cell.outside = real ? outside_cell<T>(conv.x_zero_point) : T{};
    cell.inside = real && w >= 0;
    return cell;
  }

  // halo: [halo_rows] rows of row_bytes; the rows first_row, first_row + step, ...
  __device__ __forceinline__ void load_rows(const HaloCell<T>& cell, int first_row, int step, T* halo) const {
    const ConvArguments& conv = a.conv;
    const T* x = static_cast<const T*>(conv.x) + cell.offset;  // [N, H, W, C] by x_stride
    const int last = (conv.p - 1) * conv.stride_h - conv.pad_top + (conv.r - 1) * conv.dilation_h;
    const int first_h = patch.first_p * conv.stride_h - conv.pad_top;
    const bool has_gaps = a.tap_rows < conv.dilation_h;  // only rows that some window of the patch holds are staged
    const int pitch = a.row_bytes / static_cast<int>(sizeof(T));
#pragma unroll 1
    for (int row = first_row; row < a.halo_rows; row += kBatch * step) {
      T value[kBatch];
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        const int staged = row + i * step;
        const int below = has_gaps ? staged / a.tap_rows * conv.dilation_h + staged % a.tap_rows : staged;
        const int h = source(conv, first_h + below, last, conv.h);
        value[i] = cell.outside;
        if (cell.inside && h >= 0 && staged < a.halo_rows) value[i] = x[h * conv.x_stride[1]];
      }
#pragma unroll
      for (int i = 0; i < kBatch; ++i) {
        if (row + i * step < a.halo_rows) halo[cell.target + (row + i * step) * pitch] = value[i];
      }
    }
  }

  __device__ __forceinline__ void run(T* halo) const {
    const int lanes = 1 << a.row_threads_log2, elements = a.halo_columns * a.channels;
    const int first_row = static_cast<int>(threadIdx.x) >> a.row_threads_log2;
#pragma unroll 1
    for (int element = static_cast<int>(threadIdx.x) & (lanes - 1); element < elements; element += lanes) {
      const HaloCell<T> cell = cell_at(element);
      if (cell.target >= 0) load_rows(cell, first_row, kThreads >> a.row_threads_log2, halo);
    }
  }
};

}  // namespace atrous
