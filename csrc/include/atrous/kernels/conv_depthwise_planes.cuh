// conv_depthwise_planes: one filter a channel, or several, in NCHW: bands of whole rows, copied as memory holds them.
//
// Computes  y[n, k, p, q] = finish(sum over r, s of x[n, k / multiplier, h, w] * weight[k, r, s]), where
//           h = p * stride_h - pad_top + r * dilation_h and w = q * stride_w - pad_left + s * dilation_w, in float32, r
//           and s ascending, with the zeros of padding among the terms. K = multiplier * C, one channel a group.
// Layout    x, weight, residual and y through their element strides; written for NCHW, where the rows of a plane, and
//           often the planes of an image, are one run of memory.
// Mapping   A block owns `planes` neighbouring output channels for its whole life, and so reads their weights once; it
//           goes through items: an image, a strip of output rows. A thread walks down one column of one plane, or two
//           neighbours of 16-bit elements, over the rows of one of `parts`. Where Window knows R, S and the stride, its
//           filter is in registers, and the sums of all outputs that hold a row are kept at once, so that a row is read
//           from shared memory once; AnyWindow reads a cell for each of its taps. The finished sums cross shared
//           memory, and leave in runs of 4 neighbours, which are 16 bytes of float32 and 8 of 16-bit elements, whatever
//           rows and planes they belong to.
// Shared    Two slots for the band of x that an item's windows hold, one under way: a run of memory in pieces of 16
//           bytes, as far into the first as in memory; a run a plane, or one for all where bands are whole planes.
//           Padding is not staged. The sums of an item as float32; weights and terms of the block. Lanes read and write
//           neighbouring words, or halves of words, of a row without a bank conflict where stride_w is 1. Where a warp
//           goes on in another run, a row of a part or plane, cells lie as far away as in memory: it goes on run_step
//           runs further, of all steps the one by which the fewest lanes meet in a bank, and a run that nearly fills
//           run_lanes lanes has them alone.
// Requires  the layout NCHW; one channel a group; floats of 16 or 32 bits; padding with zeros; K at most
//           2^31 - 1 - 2^16; H and W with their padding below 2^31; of one plane two slots for the band of an output
//           row, the sums of the row, the weights and the terms in 96 KB of shared memory; fewer than 2^31 items and
//           blocks.
// Cost      2 * N*P*Q * K * R*S operations. Bytes: weight once a block; y once; x once, and again the rows that two
//           strips share.
#pragma once

#include "atrous/depthwise_planes.cuh"
#include "atrous/depthwise_window.cuh"
#include "atrous/neighbours.cuh"

namespace atrous {

// Neighbouring columns of one plane that a thread sums: where their cells lie.
template <class T>
struct PlaneColumns {
  const PlanesArguments& a;
  const PlaneItem& item;
  const T* x;   // [bands, W]: of the plane
  int first_w;  // of the first column's windows
  int count;    // of them that exist

  __device__ __forceinline__ bool has_row(int h) const {
    return static_cast<unsigned>(h - item.first_h) < static_cast<unsigned>(item.bands);
  }
  __device__ __forceinline__ bool has_column(int w) const {
    return static_cast<unsigned>(w) < static_cast<unsigned>(a.conv.w);
  }
};

// Sums the outputs of neighbouring columns from row `begin` of the item up to `end`. weight, sum: of the plane, and of
// the plane's first column.
template <class T, class Window>
struct ColumnSums {
  static constexpr int kR = Window::kR, kS = Window::kS, kAges = Window::kAges, kStride = Window::kStride;
  static constexpr int kColumns = sizeof(T) * kStride == 2 ? 2 : 1;  // lanes are at least a word apart
  static constexpr int kCells = (kColumns - 1) * kStride + kS;

  __device__ __forceinline__ static void run(const PlaneColumns<T>& columns, const float32* weight, float32* sum,
                                             int begin, int end) {
    const ConvArguments& conv = columns.a.conv;
    float32 tap[kR][kS], value[kAges][kColumns] = {};
#pragma unroll
    for (int r = 0; r < kR; ++r) {
#pragma unroll
      for (int s = 0; s < kS; ++s) tap[r][s] = weight[r * kS + s];
    }
    unsigned inside = 0;
#pragma unroll
    for (int i = 0; i < kCells; ++i) inside |= columns.has_column(columns.first_w + i) ? 1u << i : 0u;
    int h = (columns.item.first_p + begin) * kStride - conv.pad_top;
#pragma unroll 1
    for (int row = begin - (kAges - 1); row < end; ++row) {
#pragma unroll
      for (int age = kAges - 1; age >= 0; --age) {
#pragma unroll
        for (int column = 0; column < kColumns; ++column) value[age][column] = age == 0 ? 0.0f : value[age - 1][column];
      }
#pragma unroll
      for (int next = 0; next < kStride; ++next) {
        const bool has_row = columns.has_row(h);
        const unsigned cells = has_row ? inside : 0u;
        const int at = has_row ? (h - columns.item.first_h) * conv.w + columns.first_w : 0;
        float32 x[kCells];
#pragma unroll
        for (int i = 0; i < kCells; ++i) x[i] = (cells >> i & 1) != 0 ? to_accumulator(columns.x[at + i]) : 0.0f;
#pragma unroll
        for (int s = 0; s < kS; ++s) {
#pragma unroll
          for (int age = 0; age < kAges; ++age) {
            if (age * kStride + next >= kR) continue;
#pragma unroll
            for (int column = 0; column < kColumns; ++column)
              value[age][column] += x[column * kStride + s] * tap[age * kStride + next][s];
          }
        }
        ++h;
      }
      if (row >= begin) store(columns, sum + row * conv.q, value[kAges - 1]);
    }
  }

  // Lanes two words apart: the upper half of a warp writes its second column first, to the banks that the lower leaves.
  __device__ __forceinline__ static void store(const PlaneColumns<T>& columns, float32* sum,
                                               const float32 (&value)[kColumns]) {
    const int first = kColumns == 1 ? 0 : static_cast<int>(threadIdx.x) / 16 % 2;
#pragma unroll
    for (int turn = 0; turn < kColumns; ++turn) {
      const int column = first ^ turn;
      if (column < columns.count) sum[column] = column == 0 ? value[0] : value[kColumns - 1];
    }
  }
};

template <class T>
struct ColumnSums<T, AnyWindow> {
  static constexpr int kColumns = 1;

  __device__ __forceinline__ static void run(const PlaneColumns<T>& columns, const float32* weight, float32* sum,
                                             int begin, int end) {
    const ConvArguments& conv = columns.a.conv;
#pragma unroll 1
    for (int row = begin; row < end; ++row) {
      const int first_h = (columns.item.first_p + row) * conv.stride_h - conv.pad_top;
      float32 value = 0.0f;
#pragma unroll 1
      for (int r = 0; r < conv.r; ++r) {
        const int h = first_h + r * conv.dilation_h;
        const bool has_row = columns.has_row(h);
        const int at = has_row ? (h - columns.item.first_h) * conv.w : 0;
#pragma unroll 4
        for (int s = 0; s < conv.s; ++s) {
          const int w = columns.first_w + s * conv.dilation_w;
          const float32 x = has_row && columns.has_column(w) ? to_accumulator(columns.x[at + w]) : 0.0f;
          value += x * weight[r * conv.s + s];
        }
      }
      sum[row * conv.q] = value;
    }
  }
};

// The way of an item's sums to y.
template <class T>
struct PlanesOutput {
  const PlanesArguments& a;
  const BandLoader<T>& block;
  const PlanesShared<T>& shared;
  bool in_runs;  // rows of y, and of a residual with the same strides, are neighbours
  bool y_aligned, residual_aligned;

  __device__ __forceinline__ PlanesOutput(const PlanesArguments& a, const BandLoader<T>& block,
                                          const PlanesShared<T>& shared)
      : a(a), block(block), shared(shared) {
    const ConvArguments& conv = a.conv;
    const int bytes = piece_bytes(bytes_of(static_cast<DataType>(conv.epilogue.y_type)), kPlaneRun);
    y_aligned = is_aligned(conv.y, bytes);
    residual_aligned = is_aligned(conv.residual, bytes);
    in_runs = conv.y_stride[2] == 1 && conv.y_stride[1] == conv.q;
    for (int axis = 0; axis < 4; ++axis)
      in_runs = in_runs && (conv.residual == nullptr || conv.residual_stride[axis] == conv.y_stride[axis]);
  }

  __device__ __forceinline__ PlaneRuns runs(const PlaneItem& item) const {
    const ConvArguments& conv = a.conv;
    const bool is_one = in_runs && item.rows == conv.p && conv.y_stride[3] == static_cast<int64>(conv.p) * conv.q;
    const int64 offset =
        item.image * conv.y_stride[0] + block.first_k * conv.y_stride[3] + item.first_p * conv.y_stride[1];
    return {is_one, item.rows * conv.q, a.y_pitch, in_runs ? kPlaneRun : 1, offset, conv.y_stride[3]};
  }

  __device__ __forceinline__ void write(const PlaneItem& item) const {
    const PlaneRuns of = runs(item);
    if (in_runs) {
      write_runs(of);
    } else {
      write_elements(item, of);
    }
  }

  __device__ __forceinline__ void write_runs(const PlaneRuns& of) const {
    const int count = of.count(block.planes), length = of.length(block.planes);
    const int turns = ceil_divide(length + kPlaneRun - 1, kPlaneRun);
#pragma unroll 1
    for (int index = threadIdx.x; index < count * turns; index += blockDim.x) {
      const int run = index / turns, first = (index - run * turns) * kPlaneRun - of.phase(run);
      if (first < length) write_run(of, run, first, length);
    }
  }

  // first: of the run's outputs, below 0 where it begins with what precedes them
  __device__ __forceinline__ void write_run(const PlaneRuns& of, int run, int first, int length) const {
    const ConvArguments& conv = a.conv;
    const float32* sums = shared.sum + run * of.pitch + of.phase(run) + first;
    const int begin = max(-first, 0), end = min(length - first, kPlaneRun);
    const bool full = begin == 0 && end == kPlaneRun;
    float32 value[kPlaneRun] = {};
    if (full) {
      const Vec<float32, kPlaneRun> piece = load_vec<kPlaneRun>(sums);
#pragma unroll
      for (int i = 0; i < kPlaneRun; ++i) value[i] = piece.value[i];
    } else {
#pragma unroll
      for (int i = 0; i < kPlaneRun; ++i) {
        if (i >= begin && i < end) value[i] = sums[i];
      }
    }
    const int64 offset = of.offset + run * of.step + first;
    const Neighbours residual = {offset, 1, begin, end, full && residual_aligned};
    finish_values(conv, value, RunTerms{a, shared, of, run, first + begin, first, residual, block.planes});
    const Neighbours y = {offset, 1, begin, end, full && y_aligned};
    visit_type(static_cast<DataType>(conv.epilogue.y_type), StoreNeighbours<float32, kPlaneRun>{conv.y, y, value});
  }

  // The terms of a run, whose outputs may belong to several planes.
  struct RunTerms {
    const PlanesArguments& a;
    const PlanesShared<T>& shared;
    const PlaneRuns& of;
    int run, first_real, first;
    const Neighbours& place;
    int planes;

    __device__ __forceinline__ void scale(float32 (&term)[kPlaneRun]) const { take(shared.scale, term); }
    __device__ __forceinline__ void bias(float32 (&term)[kPlaneRun]) const { take(shared.bias, term); }
    __device__ __forceinline__ void residual(float32 (&term)[kPlaneRun]) const {
      visit_type(static_cast<DataType>(a.conv.epilogue.y_type),
                 LoadNeighbours<float32, kPlaneRun>{a.conv.residual, place, term});
    }

    // terms: [planes], shared
    __device__ __forceinline__ void take(const float32* terms, float32 (&term)[kPlaneRun]) const {
      int plane = of.is_one ? first_real / of.apart : run;
      int end = of.is_one ? (plane + 1) * of.apart : 0;
#pragma unroll
      for (int i = 0; i < kPlaneRun; ++i) {
        if (of.is_one && first + i >= end && plane + 1 < planes) {
          ++plane;
          end += of.apart;
        }
        term[i] = terms[plane];
      }
    }
  };

  __device__ __forceinline__ void write_elements(const PlaneItem& item, const PlaneRuns& of) const {
    const ConvArguments& conv = a.conv;
#pragma unroll 1
    for (int index = threadIdx.x; index < block.planes * of.apart; index += blockDim.x) {
      const int plane = index / of.apart, place = index - plane * of.apart, row = place / conv.q;
      const int64 n = item.image, p = item.first_p + row, q = place - row * conv.q, k = block.first_k + plane;
      const auto offset = [&](const int64(&stride)[4]) {
        return n * stride[0] + p * stride[1] + q * stride[2] + k * stride[3];
      };
      finish_output(conv, shared.sum[plane * of.pitch + place], static_cast<int>(k), offset(conv.y_stride),
                    offset(conv.residual_stride));
    }
  }
};

// Sums the outputs of an item, whose band lies in `slot`.
template <class T, class Window>
__device__ __forceinline__ void sum_item(const PlaneRunsArguments& s, const BandLoader<T>& block,
                                         const PlanesShared<T>& shared, const PlaneItem& item, const PlaneRuns& y,
                                         const T* slot) {
  const PlanesArguments& a = s.planes;
  const PlaneRuns x = block.runs(item);
  using Sums = ColumnSums<T, Window>;
  const int part_rows = ceil_divide(item.rows, a.parts), width = ceil_divide(a.conv.q, Sums::kColumns);
  const int runs = block.planes * a.parts, turns = ceil_divide(runs, s.run_step);
#pragma unroll 1
  for (int unit = threadIdx.x; unit < turns * s.run_step * s.run_lanes; unit += blockDim.x) {
    const int number = unit / s.run_lanes, place = unit - number * s.run_lanes, first = number / turns;
    const int run = (number - first * turns) * s.run_step + first, plane = run / a.parts, part = run - plane * a.parts;
    if (run >= runs || place >= width) continue;
    const int q = place * Sums::kColumns;
    const int x_plane = (block.first_k + plane) / a.multiplier - block.first_c;
    const PlaneColumns<T> columns = {a, item, slot + x.start(x_plane), q * a.conv.stride_w - a.conv.pad_left,
                                     a.conv.q - q};
    Sums::run(columns, shared.weight + plane * a.conv.r * a.conv.s, shared.sum + y.start(plane) + q, part * part_rows,
              min((part + 1) * part_rows, item.rows));
  }
}

template <class T, class Window>
__global__ void __launch_bounds__(kPlanesThreads, 2)
    conv_depthwise_planes(const __grid_constant__ PlaneRunsArguments s) {
  const PlanesArguments& a = s.planes;
  const PlanesShared<T> shared(a);
  const BandLoader<T> block(a);
  const PlanesOutput<T> output(a, block, shared);
  const unsigned together = gridDim.x / a.slabs;
  unsigned index = blockIdx.x / a.slabs;
  int slot = 0;
  if (index < a.items) block.start(PlaneItem(a, index), shared.x);
  prims::commit_copies();
  load_filters(block, shared);
#pragma unroll 1
  for (; index < a.items; index += together) {
    const int slot_elements = a.x_planes * a.x_pitch;
    if (index + together < a.items) block.start(PlaneItem(a, index + together), shared.x + (slot ^ 1) * slot_elements);
    prims::commit_copies();
    prims::wait_copies<1>();
    prims::sync_block();  // the band is there, and the sums of the item before are written
    const PlaneItem item(a, index);
    sum_item<T, Window>(s, block, shared, item, output.runs(item), shared.x + slot * slot_elements);
    prims::sync_block();  // the sums are there, and the slot is free
    output.write(item);
    slot ^= 1;
  }
}

}  // namespace atrous
