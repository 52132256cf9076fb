// Pooling that reads each input row once: strips of output rows from a ring of rows, or one window shared by lanes.
//
// Computes  y[n, p, q, c] = finish(merge over the window's rows of the rows' states), as pool.cuh; padding is not read.
//           Maxima are the same to the bit in any order. Norms, and averages with by_rows, add each row's taps from
//           left to right and then the rows from top to bottom; weighted averages, and averages without, all taps in
//           row-major order. Whole: each lane adds every lanes_t-th tap in row-major order, lanes merge in a tree by
//           their distance, warps in their order.
// Layout    x and y by their strides. A thread owns 16 bytes of neighbouring channels in Nhwc, 4 planes in Nchw.
// Mapping   Strips: block = columns_in_tile x lanes_c threads up to whole warps, channels running fastest in Nhwc,
//           columns in Nchw. It walks down rows_in_strip output rows: an input row lands in the ring, every thread
//           forms its state of the row's S taps and merges it into the up to ceil(R / stride_h) outputs whose windows
//           hold the row. Whole (y is one pixel, Nhwc): block = lanes_c x lanes_t threads, channels fastest.
//           blockIdx.x counts tiles of channels, then of columns, strips, images. Nothing depends on N.
// Shared    Strips: kRingSlots rows of slot_elements, of which kRingSlots - 1 are on their way while one is used, and
//           behind them the weights of a weighted average. Lanes read 16 bytes of a column in Nhwc; columns lie so far
//           apart that 8 lanes meet on no bank, but for fewer than 128 bytes of channels with strides that no distance
//           parts. In Nchw lanes read an element each, and meet where an output row is shorter than a warp or the
//           stride spans more than 4 bytes. Whole: the states of all warps.
// Requires  sm_80. Any type but float64, and no indices. Padded extents below 2^30, R * S below 2^31, fewer than 2^31
//           blocks. Strips: dilation 1 on axes of more than one tap, ceil(R / stride_h) <= kMostInFlight, four rows of
//           one column in 40 KiB, at most 1024 weights, and not the one window of 16 taps or more that is all of y.
//           Whole: such a window, in Nhwc and without weights.
// Cost      bytes: y once, and x once but for what neighbouring blocks share: max(0, R - stride_h) rows a strip and
//           max(0, S - stride_w) columns a tile. S steps a row and column, and a merge for every output in flight.
#pragma once

#include "atrous/row_ring.cuh"
#include "atrous/window_state.cuh"

namespace atrous {

constexpr int kStreamThreads = 256;
constexpr int kRingSlots = 4;

// Outputs of a column whose windows share a row. Norms merge by powers, whose code would be there once for each.
template <template <class> class Reduction>
constexpr int kMostInFlight = 7;
template <>
constexpr int kMostInFlight<LpReduction> = 3;

// Ways over a window.
struct Strips {};
struct Whole {};

// y of one pixel: a vector where it is aligned, else one by one. channels: of the thread's that exist
template <int kOwned, class Layout, class T>
__device__ __forceinline__ void store_pixel(const PoolArguments& a, T* y, const Vec<T, kOwned>& results, int channels,
                                            bool aligned) {
  if (Layout::kChannelsLast && aligned && channels >= kOwned) {
    store_vec<kOwned>(y, results);
    return;
  }
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    if (i < channels) y[i * a.y_stride[3]] = results.value[i];
  }
}

// Whether the channels of every thread are one aligned vector of y.
template <class T, int kOwned>
__device__ __forceinline__ bool stores_vectors(const PoolArguments& a) {
  return is_aligned(a.y, kOwned * sizeof(T)) && a.y_stride[3] == 1 &&
         (a.y_stride[0] | a.y_stride[1] | a.y_stride[2]) % kOwned == 0;
}

// One thread's column of a strip: the states of the outputs whose windows hold the row at hand.
template <int kInFlight, class T, class Layout, template <class> class Reduction>
struct StreamColumn {
  static constexpr int kOwned = kStreamOwned<T, Layout>;
  using State = WindowState<T, kOwned, Reduction>;
  using Order = RowOrder<Reduction>;
  using Real = typename State::Real;

  const PoolStreamArguments& s;
  const PoolArguments& a;
  const Real* weights;     // [R, S], shared, of a weighted average
  State state[kInFlight];  // of the outputs p, p + 1 ...
  Window window;           // of output p
  TapRange columns;
  Real full_divisor;  // of windows all of whose rows exist
  T* y;               // of output p
  int p, channels;
  bool aligned, exists;

  // column: of the tile; first: the thread's first channel, counted from the tile's
  __device__ __forceinline__ StreamColumn(const PoolStreamArguments& s, const StreamTile<kOwned>& tile, int column,
                                          int first, bool exists, const Real* weights)
      : s(s), a(s.pool), weights(weights), p(tile.row), channels(tile.channels - first), exists(exists) {
    window = {tile.first_h, tile.first_w + column * a.stride_w, {0, a.r}, {0, 0}, 0, 0};
    window.columns = taps_inside(window.start_w, a.s, 1, 0, a.w + min(0, a.pad_right));
    columns = window.columns;
    full_divisor = State::divisor(a, window);
    aligned = stores_vectors<T, kOwned>(a);
    y = static_cast<T*>(a.y) + tile.image * a.y_stride[0] + p * a.y_stride[1] + (tile.column + column) * a.y_stride[2] +
        (tile.channel + first) * a.y_stride[3];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) state[i].start(a);
  }

  // The first input row past the window of output p.
  __device__ __forceinline__ int end() const { return window.start_h + a.r; }

  // Stores output p and turns to the next.
  __device__ __forceinline__ void finish() {
    if (exists) {
      window.rows = taps_inside(window.start_h, a.r, 1, 0, a.h + min(0, a.pad_bottom));
      const Real divisor = window.rows.count == a.r ? full_divisor : State::divisor(a, window);
      store_pixel<kOwned, Layout>(a, y, state[0].finish(a, divisor), channels, aligned);
    }
#pragma unroll
    for (int i = 1; i < kInFlight; ++i) state[i - 1] = state[i];
    state[kInFlight - 1].start(a);
    window.start_h += a.stride_h;
    y += a.y_stride[1];
    ++p;
  }

  __device__ __forceinline__ Vec<T, kOwned> cells_at(const T* cell) const {
    if constexpr (Layout::kChannelsLast) {
      return load_vec<kOwned>(cell);
    } else {
      Vec<T, kOwned> cells;
#pragma unroll
      for (int i = 0; i < kOwned; ++i) cells.value[i] = cell[i * s.pitch];
      return cells;
    }
  }

  __device__ __forceinline__ typename State::Tap tap_at(int r, int s) const {
    if constexpr (Order::kByRows) {
      return {};
    } else {
      return {weights[r * a.s + s]};
    }
  }

  // Adds input row h. cell: of the first real tap; its neighbours lie `step` elements apart
  __device__ __forceinline__ void add_row(int h, const T* cell, int step) {
    const int r = h - window.start_h;
    if (Order::kByRows && (!Order::kByCells || s.by_rows)) {
      State row;
      row.start(a);
      for (int i = 0; i < columns.count; ++i, cell += step) row.add(a, State::cells(cells_at(cell)), {});
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        if (r >= i * a.stride_h) state[i].merge(a, row);
      }
    } else if (Order::kByCells) {
      for (int i = 0; i < columns.count; ++i, cell += step) {
        const typename State::Cells x = State::cells(cells_at(cell));
#pragma unroll
        for (int j = 0; j < kInFlight; ++j) {
          if (r < j * a.stride_h) continue;
          state[j].add(a, x, tap_at(r - j * a.stride_h, columns.first + i));
        }
      }
    }
  }
};

// Walks a block down its strip.
template <int kInFlight, class T, class Layout, template <class> class Reduction>
__device__ __forceinline__ void walk_strip(const PoolStreamArguments& s) {
  constexpr int kOwned = kStreamOwned<T, Layout>;
  const PoolArguments& a = s.pool;
  const StreamTile<kOwned> tile(s);
  const RowCopier<T, Layout, kOwned> copier(s, tile);
  const int lanes = Layout::kChannelsLast ? 1 << a.log_lanes_c : s.columns_in_tile;
  const int slow = static_cast<int>(threadIdx.x) / lanes, fast = static_cast<int>(threadIdx.x) - slow * lanes;
  const int lane = Layout::kChannelsLast ? slow : fast, first = (Layout::kChannelsLast ? fast : slow) * kOwned;
  const int column = min(lane, tile.columns - 1);  // lanes past the tile's columns reckon as the last, and read nothing

  T* const ring = reinterpret_cast<T*>(prims::dynamic_shared());  // [kRingSlots, slot_elements]
  const int last = tile.first_h + a.r + (tile.rows - 1) * a.stride_h, edge = a.h + min(0, a.pad_bottom);
  const int rows_end = last < edge ? last : edge;
  RowCursor coming(a, tile.first_h), here(a, tile.first_h);
  const auto fetch = [&](int slot) {
    if (coming.row < rows_end) {
      copier.copy(coming.row, ring + slot * s.slot_elements);
      coming.next(a);
    }
    prims::commit_copies();
  };
#pragma unroll 1
  for (int slot = 0; slot < kRingSlots - 1; ++slot) fetch(slot);
  using Column = StreamColumn<kInFlight, T, Layout, Reduction>;
  using Real = typename Column::Real;
  Real* const weights = reinterpret_cast<Real*>(ring + kRingSlots * s.slot_elements);  // [R, S]
  if constexpr (!Column::Order::kByRows) {
    const int taps = a.r * a.s;
    for (int i = threadIdx.x; i < taps; i += blockDim.x) weights[i] = static_cast<const Real*>(a.tap_weight)[i];
  }
  Column walk(s, tile, column, first, lane < tile.columns && first < tile.channels, weights);
  const int tap = column * a.stride_w + walk.columns.first;
  const int place = Layout::kChannelsLast ? tap * s.pitch + first : first * s.pitch + copier.skew + tap;
  const int step = Layout::kChannelsLast ? s.pitch : 1;
  for (int slot = 0; here.row < rows_end; here.next(a)) {
    prims::wait_copies<kRingSlots - 2>();
    prims::sync_block();
    fetch(slot == 0 ? kRingSlots - 1 : slot - 1);  // over the row that every thread has left behind
    while (walk.end() <= here.row) walk.finish();
    if (walk.exists) walk.add_row(here.row, ring + slot * s.slot_elements + place, step);
    slot = slot == kRingSlots - 1 ? 0 : slot + 1;
  }
  while (walk.p < tile.row + tile.rows) walk.finish();
}

template <class T, class Layout, template <class> class Reduction>
__device__ __forceinline__ void pool_by(Strips, const PoolStreamArguments& s) {
  const int in_flight = (s.pool.r - 1) / s.pool.stride_h + 1;
  if (in_flight == 1) {
    walk_strip<1, T, Layout, Reduction>(s);
  } else if (in_flight == 2) {
    walk_strip<2, T, Layout, Reduction>(s);
  } else if (in_flight == 3) {
    walk_strip<3, T, Layout, Reduction>(s);
  } else if constexpr (kMostInFlight<Reduction> > 3) {
    walk_strip<kMostInFlight<Reduction>, T, Layout, Reduction>(s);
  }
}

// The lane's taps of the one window, kInFlight loads at a time.
// x: [H, W, C] of the image, from the thread's first channel on, of which `channels` exist
template <class T, int kOwned, class State>
__device__ __forceinline__ void add_taps(const PoolArguments& a, const Window& window, const T* x, int channels,
                                         bool aligned, State& state) {
  constexpr int kInFlight = 4;
  const Digits sizes{window.rows.count, window.columns.count, 1};
  const Digits step = to_digits(1 << window.log_lanes, sizes);
  Digits at = to_digits(window.lane, sizes);
  while (at.slow < sizes.slow) {
    Vec<T, kOwned> held[kInFlight];
    Digits place[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      place[i] = at;
      if (at.slow >= sizes.slow) continue;
      const int64 h = window.start_h + (window.rows.first + at.slow) * a.dilation_h;
      const int64 w = window.start_w + (window.columns.first + at.middle) * a.dilation_w;
      const T* const cell = x + h * a.x_stride[1] + w * a.x_stride[2];
      if (aligned && channels >= kOwned) {
        held[i] = load_vec<kOwned>(cell);
      } else {
#pragma unroll
        for (int j = 0; j < kOwned; ++j) held[i].value[j] = j < channels ? cell[j * a.x_stride[3]] : T{};
      }
      advance(at, step, sizes);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (place[i].slow < sizes.slow) state.add(a, State::cells(held[i]), {});
    }
  }
}

template <class T, class Layout, template <class> class Reduction>
__device__ __forceinline__ void pool_by(Whole, const PoolStreamArguments& s) {
  constexpr int kOwned = kStreamOwned<T, Layout>;
  using State = WindowState<T, kOwned, Reduction>;
  const PoolArguments& a = s.pool;
  const StreamTile<kOwned> tile(s);
  const int lanes_c = 1 << a.log_lanes_c, thread = threadIdx.x, threads = blockDim.x;
  const int first = (thread & (lanes_c - 1)) * kOwned, channels = tile.channels - first;
  Window window{tile.first_h, tile.first_w, {0, 0}, {0, 0}, thread >> a.log_lanes_c, a.log_lanes_t};
  window.rows = taps_inside(window.start_h, a.r, a.dilation_h, 0, a.h + min(0, a.pad_bottom));
  window.columns = taps_inside(window.start_w, a.s, a.dilation_w, 0, a.w + min(0, a.pad_right));
  const bool aligned = is_aligned(a.x, kOwned * sizeof(T)) && a.x_stride[3] == 1 &&
                       (a.x_stride[0] | a.x_stride[1] | a.x_stride[2]) % kOwned == 0;
  const T* const x = static_cast<const T*>(a.x) + tile.image * a.x_stride[0] + (tile.channel + first) * a.x_stride[3];
  State state;
  state.start(a);
  if (channels > 0 && window.columns.count > 0) add_taps<T, kOwned>(a, window, x, channels, aligned, state);
  for (int mask = lanes_c; mask < 32; mask *= 2) state.merge(a, state.across(mask));

  State* const of_warps = reinterpret_cast<State*>(prims::dynamic_shared());  // [warps, lanes_c]
  if (threads > 32) {
    if (thread % 32 < lanes_c) of_warps[(thread / 32 << a.log_lanes_c) + thread % 32] = state;
    prims::sync_block();
  }
  if (thread >= lanes_c || channels <= 0) return;
  for (int warp = 1; warp < threads / 32; ++warp) state.merge(a, of_warps[(warp << a.log_lanes_c) + thread]);
  T* const y = static_cast<T*>(a.y) + tile.image * a.y_stride[0] + (tile.channel + first) * a.y_stride[3];
  window.lane = window.log_lanes = 0;
  store_pixel<kOwned, Layout>(a, y, state.finish(a, State::divisor(a, window)), channels, stores_vectors<T, kOwned>(a));
}

template <class T, class Layout, class Way, template <class> class Reduction>
__global__ void __launch_bounds__(kStreamThreads, 2) pool_stream(const __grid_constant__ PoolStreamArguments s) {
  pool_by<T, Layout, Reduction>(Way{}, s);
}

}  // namespace atrous
