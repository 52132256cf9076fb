// pool_bands: pooling of bands of whole rows, copied as memory holds them, in NCHW and where C fills no vectors.
//
// Computes  y[n, p, q, c] = finish(merge over the window's rows of the rows' states), as pool.cuh; padding is not read.
//           Maxima are the same to the bit in any order. Columns: norms, and averages with by_rows, add each row's taps
//           from left to right and then the rows from top to bottom; weighted averages, and averages without, all taps
//           in row-major order. Whole: each lane adds every lanes_t-th tap in row-major order, and lanes merge in a
//           tree by their distance.
// Layout    x and y by their strides; written for planes whose rows follow each other: those of one n and c in NCHW,
//           images in NHWC, whose columns are C neighbours. Planes, and often images, are one run of memory.
// Mapping   blockIdx.x takes every gridDim.x-th item: a strip of output rows of `planes` planes. Columns: a thread
// walks
//           down one column of one channel over the rows of one of `parts`, neighbouring threads neighbouring columns,
//           and keeps the states of all outputs whose windows hold a row, so that each row's taps are added once.
//           Whole (the window is all of y): lanes_t neighbouring lanes share the window of a channel.
// Shared    Two slots for the band of x that an item's windows hold, one under way: a run of memory in pieces of 16
//           bytes, as far into the first as in memory; a run a plane, or one for all where bands are whole planes. The
//           outputs of an item, which leave in pieces of 16 bytes whatever rows and planes they belong to; the weights
//           of a weighted average. Lanes read neighbouring words, or parts of words, of a row without a bank conflict
//           where stride_w elements are a word at most; beyond, every stride_w-th. Where a warp goes on in another run,
//           a row of a part or plane, cells lie as far apart as in memory: it goes on run_step runs further, of all
//           steps the one by which the fewest lanes meet in a bank, and a run that nearly fills run_lanes lanes has
//           them alone. Lanes that share windows go on in the next plane.
// Requires  sm_80. Any type but float64, and no indices. Padded extents below 2^30, N * C below 2^31 - 2^16, fewer than
//           2^31 items. In NHWC: C that is no whole number of 16 bytes. Columns: dilation 1 on axes of more than one
//           tap, ceil(R / stride_h) <= kMostInFlight. At most 1024 weights. Of one plane two slots for the band of an
//           output row and that row in 96 KB of shared memory.
// Cost      bytes: y once; x once, and again the max(0, R - stride_h) rows that two strips share. S steps a row and
//           column, and a merge for every output in flight.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/layout.cuh"
#include "atrous/pool_band.cuh"
#include "atrous/pool_column.cuh"

namespace atrous {

constexpr int kBandThreads = 256;

// The outputs of an item, whose band lies in a slot, on their way into shared memory.
// slot: [planes][x_pitch]; y: [planes][y_pitch]; weight: [R, S]; all shared
template <class T, template <class> class Reduction>
struct BandColumns {
  using Real = typename WindowState<T, 1, Reduction>::Real;

  const PoolBandsArguments& s;
  const BandItem& item;
  const PlaneRuns &x, &y_of;
  const T* slot;
  T* results;
  const Real* weight;

  template <int kInFlight>
  __device__ __forceinline__ void run() const {
    const int width = s.pool.q * s.inner, part_rows = ceil_divide(item.rows, s.parts);
    const int runs = item.planes * s.parts, turns = ceil_divide(runs, s.run_step);
#pragma unroll 1
    for (int unit = threadIdx.x; unit < turns * s.run_step * s.run_lanes; unit += blockDim.x) {
      const int number = unit / s.run_lanes, place = unit - number * s.run_lanes, first = number / turns;
      const int run = (number - first * turns) * s.run_step + first, plane = run / s.parts,
                part = run - plane * s.parts;
      const int begin = part * part_rows, rows = min(part_rows, item.rows - begin);
      if (run < runs && place < width && rows > 0) walk<kInFlight>(plane, place, begin, rows);
    }
  }

  // Down `rows` outputs from row `begin` of the item. place: of the output in its row
  template <int kInFlight>
  __device__ __forceinline__ void walk(int plane, int place, int begin, int rows) const {
    const PoolArguments& a = s.pool;
    const int q = place / s.inner, row = a.w * s.inner, width = a.q * s.inner;
    const int first_h = (item.first_p + begin) * a.stride_h - a.pad_top;
    PoolColumn<kInFlight, 1, T, Reduction> column(a, s.by_rows, weight, first_h, q * a.stride_w - a.pad_left);
    const int first = (column.window.start_w + column.columns.first) * s.inner + place - q * s.inner;
    const T* const cells = slot + x.start(plane);
    T* y = results + y_of.start(plane) + begin * width + place;
    const T* const y_end = y + rows * width;
    const auto finish = [&] {
      store_vec<1>(y, column.result());
      column.next_output();
      y += width;
    };
    const int end = rows_end(a, first_h, rows);
#pragma unroll 1
    for (RowCursor here(a, first_h); here.row < end; here.next(a)) {
      while (column.end() <= here.row) finish();
      column.add_row(here.row, cells + (here.row - item.first_h) * row + first, s.inner);
    }
    while (y != y_end) finish();
  }

  // The one window of each channel, shared by neighbouring lanes.
  __device__ __forceinline__ void share() const {
    using State = WindowState<T, 1, Reduction>;
    const PoolArguments& a = s.pool;
    const int lanes = 1 << a.log_lanes_t, lane = threadIdx.x & (lanes - 1),
              units = item.planes * s.inner << a.log_lanes_t;
    Window window{-a.pad_top, -a.pad_left, {0, 0}, {0, 0}, lane, a.log_lanes_t};
    window.rows = taps_inside(window.start_h, a.r, a.dilation_h, 0, a.h + min(0, a.pad_bottom));
    window.columns = taps_inside(window.start_w, a.s, a.dilation_w, 0, a.w + min(0, a.pad_right));
    const auto divisor = State::divisor(a, window);
    const Digits sizes{window.rows.count, max(window.columns.count, 1), 1}, step = to_digits(lanes, sizes);
    const int row = a.w * s.inner;
#pragma unroll 1
    for (int first = 0; first < units; first += blockDim.x) {  // all lanes of a warp, as they merge
      const int unit = first + static_cast<int>(threadIdx.x), output = unit >> a.log_lanes_t, plane = output / s.inner;
      State state;
      state.start(a);
      if (unit < units && window.columns.count > 0) {
        const int c = output - plane * s.inner;
        const int corner = (window.start_h - item.first_h) * row + window.start_w * s.inner + c;
        const T* const cells = slot + x.start(plane);
        for (Digits at = to_digits(lane, sizes); at.slow < sizes.slow; advance(at, step, sizes)) {
          const int r = window.rows.first + at.slow, t = window.columns.first + at.middle;
          const T* const cell = cells + corner + r * a.dilation_h * row + t * a.dilation_w * s.inner;
          state.add(a, State::cells(load_vec<1>(cell)), tap_at(r * a.s + t));
        }
      }
#pragma unroll 1
      for (int mask = 1; mask < lanes; mask *= 2) state.merge(a, state.across(mask));
      if (unit < units && lane == 0)
        store_vec<1>(results + y_of.start(plane) + output - plane * s.inner, state.finish(a, divisor));
    }
  }

  __device__ __forceinline__ typename WindowState<T, 1, Reduction>::Tap tap_at(int number) const {
    if constexpr (RowOrder<Reduction>::kByRows) {
      return {};
    } else {
      return {weight[number]};
    }
  }
};

template <class T, template <class> class Reduction>
__global__ void __launch_bounds__(kBandThreads, 3) pool_bands(const __grid_constant__ PoolBandsArguments s) {
  using Columns = BandColumns<T, Reduction>;
  using Real = typename Columns::Real;
  const BandShared<T, Real> shared(s);
  const BandMover<T> mover(s);
  unsigned index = blockIdx.x;
  mover.fetch(BandItem(s, index), shared.x);
  prims::commit_copies();
  if constexpr (!RowOrder<Reduction>::kByRows) {
    const int taps = s.pool.r * s.pool.s;
    for (int i = threadIdx.x; i < taps; i += blockDim.x)
      shared.weight[i] = static_cast<const Real*>(s.pool.tap_weight)[i];
  }
  int slot = 0;
#pragma unroll 1
  for (; index < s.items; index += gridDim.x) {
    const int slot_elements = s.planes * s.x_pitch;
    if (index + gridDim.x < s.items) mover.fetch(BandItem(s, index + gridDim.x), shared.x + (slot ^ 1) * slot_elements);
    prims::commit_copies();
    prims::wait_copies<1>();
    prims::sync_block();  // the band is there, and the outputs of the item before are written
    const BandItem item(s, index);
    const PlaneRuns x = mover.x_runs(item), y = mover.y_runs(item);
    const Columns columns = {s, item, x, y, shared.x + slot * slot_elements, shared.y, shared.weight};
    if (s.is_whole) {
      columns.share();
    } else {
      run_in_flight<Reduction>(s.pool, columns);
    }
    prims::sync_block();  // the outputs are there, and the slot is free
    mover.write(item, shared.y);
    slot ^= 1;
  }
}

}  // namespace atrous
