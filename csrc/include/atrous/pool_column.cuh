// One thread's way down a column of pooling windows: what it keeps of those that hold the row at hand.
#pragma once

#include "atrous/window_state.cuh"

namespace atrous {

// Outputs of a column whose windows share a row. Norms merge by powers, whose code would be there once for each.
template <template <class> class Reduction>
constexpr int kMostInFlight = 7;
template <>
constexpr int kMostInFlight<LpReduction> = 3;

// Runs a way down columns that keeps as many states as windows share a row, of those numbers that it is compiled for.
template <template <class> class Reduction, class Way>
__device__ __forceinline__ void run_in_flight(const PoolArguments& a, const Way& way) {
  const int in_flight = (a.r - 1) / a.stride_h + 1;
  if (in_flight == 1) {
    way.template run<1>();
  } else if (in_flight == 2) {
    way.template run<2>();
  } else if (in_flight == 3) {
    way.template run<3>();
  } else if constexpr (kMostInFlight<Reduction> > 3) {
    way.template run<kMostInFlight<Reduction>>();
  }
}

// Walks down the input rows that any window of a strip reads, from the first that exists; what lies between windows
// that do not meet is left out.
struct RowCursor {
  int row;
  int tap;  // row of the window it belongs to, where windows do not meet

  __device__ __forceinline__ RowCursor(const PoolArguments& a, int first_h) : row(first_h), tap(0) {
    if (row >= 0) return;
    if (a.stride_h <= a.r) {
      row = 0;
      return;
    }
    row += -row / a.stride_h * a.stride_h;
    while (row < 0) next(a);
  }
  __device__ __forceinline__ void next(const PoolArguments& a) {
    ++row;
    if (a.stride_h > a.r && ++tap == a.r) {
      row += a.stride_h - a.r;
      tap = 0;
    }
  }
};

// The input row past the last that `rows` windows of a column read of those that exist, the first of which begins at
// row first_h.
__device__ __forceinline__ int rows_end(const PoolArguments& a, int first_h, int rows) {
  return min(first_h + a.r + (rows - 1) * a.stride_h, a.h + min(0, a.pad_bottom));
}

// The states of the outputs p, p + 1 ... of a column, for kOwned neighbouring channels; p moves on by next_output.
template <int kInFlight, int kOwned, class T, template <class> class Reduction>
struct PoolColumn {
  using State = WindowState<T, kOwned, Reduction>;
  using Order = RowOrder<Reduction>;
  using Real = typename State::Real;

  const PoolArguments& a;
  const int& by_rows;   // of the launch's argument
  const Real* weights;  // [R, S], shared, of a weighted average
  State state[kInFlight];
  Window window;  // of output p
  TapRange columns;
  Real full_divisor;  // of windows all of whose rows exist

  // first_h, first_w: input coordinates of tap (0, 0) of output p
  __device__ __forceinline__ PoolColumn(const PoolArguments& a, const int& by_rows, const Real* weights, int first_h,
                                        int first_w)
      : a(a), by_rows(by_rows), weights(weights) {
    window = {first_h, first_w, {0, a.r}, {0, 0}, 0, 0};
    window.columns = taps_inside(first_w, a.s, 1, 0, a.w + min(0, a.pad_right));
    columns = window.columns;
    full_divisor = State::divisor(a, window);
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) state[i].start(a);
  }

  // The first input row past the window of output p.
  __device__ __forceinline__ int end() const { return window.start_h + a.r; }

  __device__ __forceinline__ Vec<T, kOwned> result() {
    window.rows = taps_inside(window.start_h, a.r, 1, 0, a.h + min(0, a.pad_bottom));
    const Real divisor = window.rows.count == a.r ? full_divisor : State::divisor(a, window);
    return state[0].finish(a, divisor);
  }
  __device__ __forceinline__ void next_output() {
#pragma unroll
    for (int i = 1; i < kInFlight; ++i) state[i - 1] = state[i];
    state[kInFlight - 1].start(a);
    window.start_h += a.stride_h;
  }

  __device__ __forceinline__ typename State::Tap tap_at(int r, int s) const {
    if constexpr (Order::kByRows) {
      return {};
    } else {
      return {weights[r * a.s + s]};
    }
  }

  // Adds input row h. cell: of the first real tap, shared; its neighbours lie `step` elements apart
  __device__ __forceinline__ void add_row(int h, const T* cell, int step) {
    const int r = h - window.start_h;
    if (Order::kByRows && (!Order::kByCells || by_rows)) {
      State row;
      row.start(a);
      for (int i = 0; i < columns.count; ++i, cell += step) row.add(a, State::cells(load_vec<kOwned>(cell)), {});
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        if (r >= i * a.stride_h) state[i].merge(a, row);
      }
    } else if (Order::kByCells) {
      for (int i = 0; i < columns.count; ++i, cell += step) {
        const typename State::Cells x = State::cells(load_vec<kOwned>(cell));
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          if (r < j * a.stride_h) continue;
          state[j].add(a, x, tap_at(r - j * a.stride_h, columns.first + i));
        }
      }
    }
  }
};

}  // namespace atrous
