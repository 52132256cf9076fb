// Pooling that reads each input row once: strips of output rows from a ring of rows, or one window shared by lanes.
//
// Computes  y[n, p, q, c] = finish(merge over the window's rows of the rows' states), as pool.cuh; padding is not read.
//           Maxima are the same to the bit in any order. Norms, and averages with by_rows, add each row's taps from
//           left to right and then the rows from top to bottom; weighted averages, and averages without, all taps in
//           row-major order. Whole: each lane adds every lanes_t-th tap in row-major order, lanes merge in a tree by
//           their distance, warps in their order.
// Layout    x and y by their strides; written for NHWC. A thread owns 16 bytes of neighbouring channels.
// Mapping   Strips: block = columns_in_tile x lanes_c threads up to whole warps, channels running fastest. It walks
// down
//           rows_in_strip output rows: an input row lands in the ring, every thread forms its state of the row's S taps
//           and merges it into the up to ceil(R / stride_h) outputs whose windows hold the row. Whole (y is one pixel):
//           block = lanes_c x lanes_t threads, channels fastest. blockIdx.x counts tiles of channels, then of columns,
//           strips, images. Nothing depends on N.
// Shared    Strips: kRingSlots rows of slot_elements, of which kRingSlots - 1 are on their way while one is used, and
//           behind them the weights of a weighted average. Lanes read 16 bytes of a column; columns lie so far apart
//           that 8 lanes meet on no bank, but for fewer than 128 bytes of channels with strides that no distance parts.
//           Whole: the states of all warps, word by word.
// Requires  sm_80. The layout NHWC, any type but float64, and no indices. Padded extents below 2^30, R * S below 2^31,
//           fewer than 2^31 blocks. Strips: dilation 1 on axes of more than one tap, ceil(R / stride_h) <=
//           kMostInFlight, four rows of one column in 40 KiB, at most 1024 weights, and not the one window of 16 taps
//           or more that is all of y. Whole: such a window, without weights.
// Cost      bytes: y once, and x once but for what neighbouring blocks share: max(0, R - stride_h) rows a strip and
//           max(0, S - stride_w) columns a tile. S steps a row and column, and a merge for every output in flight.
#pragma once

#include "atrous/pool_column.cuh"
#include "atrous/row_ring.cuh"

namespace atrous {

constexpr int kStreamThreads = 256;
constexpr int kRingSlots = 4;

// Blocks of a multiprocessor, which share its registers: norms of 8 channels keep 16 numbers an output in flight.
template <class T, template <class> class Reduction>
constexpr int kStreamBlocks = 2;
template <>
constexpr int kStreamBlocks<float16, LpReduction> = 1;
template <>
constexpr int kStreamBlocks<bfloat16, LpReduction> = 1;

// Ways over a window.
struct Strips {};
struct Whole {};

// Where the pixels of a thread's channels go: as vectors where those are aligned, else one by one.
template <class T>
struct PixelStore {
  static constexpr int kOwned = kStreamOwned<T>;

  const PoolArguments& a;
  int channels;  // of the thread's that exist
  bool aligned;

  __device__ __forceinline__ PixelStore(const PoolArguments& a, int channels) : a(a), channels(channels) {
    aligned = is_aligned(a.y, 16) && a.y_stride[3] == 1 &&
              (a.y_stride[0] | a.y_stride[1] | a.y_stride[2]) % kOwned == 0 && channels >= kOwned;
  }
  // y: of the thread's first channel
  __device__ __forceinline__ void operator()(T* y, const Vec<T, kOwned>& results) const {
    if (aligned) {
      store_vec<kOwned>(y, results);
      return;
    }
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      if (i < channels) y[i * a.y_stride[3]] = results.value[i];
    }
  }
};

// Walks a block down its strip.
template <class T, template <class> class Reduction>
struct StripWalk {
  const PoolStreamArguments& s;

  template <int kInFlight>
  __device__ __forceinline__ void run() const {
    constexpr int kOwned = kStreamOwned<T>;
    using Column = PoolColumn<kInFlight, kOwned, T, Reduction>;
    using Real = typename Column::Real;
    const PoolArguments& a = s.pool;
    const StreamTile<kOwned> tile(s);
    const RowCopier<T> copier(s, tile);
    const int thread = threadIdx.x, lane = thread >> a.log_lanes_c;
    const int first = (thread & ((1 << a.log_lanes_c) - 1)) * kOwned;
    const int column = min(lane, tile.columns - 1);  // lanes past the tile's reckon as the last, and read nothing

    T* const ring = reinterpret_cast<T*>(prims::dynamic_shared());  // [kRingSlots, slot_elements]
    const int end = rows_end(a, tile.first_h, tile.rows);
    RowCursor coming(a, tile.first_h), here(a, tile.first_h);
    const auto fetch = [&](int slot) {
      if (coming.row < end) {
        copier.copy(coming.row, ring + slot * s.slot_elements);
        coming.next(a);
      }
      prims::commit_copies();
    };
#pragma unroll 1
    for (int slot = 0; slot < kRingSlots - 1; ++slot) fetch(slot);
    Real* const weights = reinterpret_cast<Real*>(ring + kRingSlots * s.slot_elements);  // [R, S]
    if constexpr (!Column::Order::kByRows) {
      const int taps = a.r * a.s;
      for (int i = thread; i < taps; i += blockDim.x) weights[i] = static_cast<const Real*>(a.tap_weight)[i];
    }
    Column walk(a, s.by_rows, weights, tile.first_h, tile.first_w + column * a.stride_w);
    const PixelStore<T> store(a, lane < tile.columns ? tile.channels - first : 0);
    T* y = static_cast<T*>(a.y) + tile.image * a.y_stride[0] + tile.row * a.y_stride[1] +
           (tile.column + column) * a.y_stride[2] + (tile.channel + first) * a.y_stride[3];
    int left = tile.rows;
    const auto finish = [&] {
      if (store.channels > 0) store(y, walk.result());
      walk.next_output();
      y += a.y_stride[1];
      --left;
    };
    const int place = (column * a.stride_w + walk.columns.first) * s.pitch + first;
    for (int slot = 0; here.row < end; here.next(a)) {
      prims::wait_copies<kRingSlots - 2>();
      prims::sync_block();
      fetch(slot == 0 ? kRingSlots - 1 : slot - 1);  // over the row that every thread has left behind
      while (walk.end() <= here.row) finish();
      if (store.channels > 0) walk.add_row(here.row, ring + slot * s.slot_elements + place, s.pitch);
      slot = slot == kRingSlots - 1 ? 0 : slot + 1;
    }
    while (left > 0) finish();
  }
};

template <class T, template <class> class Reduction>
__device__ __forceinline__ void pool_by(Strips, const PoolStreamArguments& s) {
  run_in_flight<Reduction>(s.pool, StripWalk<T, Reduction>{s});
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

// The states of all warps in shared memory, word by word, so that neighbouring lanes meet on no bank.
template <class State>
struct SharedStates {
  static constexpr int kWords = sizeof(State) / 4;
  union Words {
    State state;
    unsigned word[kWords];
    __device__ __forceinline__ Words() {}
  };
  unsigned* words;  // [warps, kWords, lanes]
  int lanes;

  __device__ __forceinline__ void put(int warp, int lane, const State& state) const {
    Words of;
    of.state = state;
#pragma unroll
    for (int i = 0; i < kWords; ++i) words[(warp * kWords + i) * lanes + lane] = of.word[i];
  }
  __device__ __forceinline__ State get(int warp, int lane) const {
    Words of;
#pragma unroll
    for (int i = 0; i < kWords; ++i) of.word[i] = words[(warp * kWords + i) * lanes + lane];
    return of.state;
  }
};

template <class T, template <class> class Reduction>
__device__ __forceinline__ void pool_by(Whole, const PoolStreamArguments& s) {
  constexpr int kOwned = kStreamOwned<T>;
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

  if (threads > 32) {
    const SharedStates<State> of_warps{reinterpret_cast<unsigned*>(prims::dynamic_shared()), lanes_c};
    if (thread % 32 < lanes_c) of_warps.put(thread / 32, thread % 32, state);
    prims::sync_block();
    for (int warp = 1; thread < lanes_c && warp < threads / 32; ++warp) state.merge(a, of_warps.get(warp, thread));
  }
  if (thread >= lanes_c || channels <= 0) return;
  T* const y = static_cast<T*>(a.y) + tile.image * a.y_stride[0] + (tile.channel + first) * a.y_stride[3];
  window.lane = window.log_lanes = 0;
  PixelStore<T>(a, channels)(y, state.finish(a, State::divisor(a, window)));
}

template <class T, class Way, template <class> class Reduction>
__global__ void __launch_bounds__(kStreamThreads, kStreamBlocks<T, Reduction>)
    pool_stream(const __grid_constant__ PoolStreamArguments s) {
  pool_by<T, Reduction>(Way{}, s);
}

}  // namespace atrous
