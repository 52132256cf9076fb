// Pooling by one walk over every window: maximum, average, Lp norm, root mean square and weighted average.
//
// Computes  y[n, p, q, c] = finish(add over the real taps (r, s) of x[n, p * stride_h - pad_top + r * dilation_h,
//           q * stride_w - pad_left + s * dilation_w, c]), with start, add, merge and finish of reductions.cuh; a tap
//           is real where that cell exists and is not cropped. Padding is never read and never added.
// Layout    x and y by their strides. Nhwc: a thread owns kOwned neighbouring channels of an output pixel. Nchw: kOwned
//           planes, where a plane is one (n, c), at the same output pixel.
// Mapping   block = lanes_t x lanes_c x lanes_q x lanes_p threads in Nhwc, lanes_t x lanes_q x lanes_p x lanes_c in
//           Nchw, the first running fastest, all powers of two, 32 to 256 together; blockIdx.x counts tiles of
//           channels, then of output columns, of output rows, of images. The lanes_t lanes of an output lie in one
//           warp, take every lanes_t-th tap and merge by shuffles in a fixed tree. The shape never depends on N, so an
//           image gives the same bits in every batch.
// Shared    the patch of x that a tile's windows cover, in steps of rows_in_step x taps_in_step taps so that any window
//           fits: neighbouring windows overlap, and each cell comes from memory once a tile. Neighbours in the patch
//           are cell_step input cells apart (the common divisor of stride and dilation), or, where that would hold
//           mostly cells nobody reads, the patch holds each window's taps on their own (cell_step 0).
// Requires  padded extents below 2^30, R * S below 2^31, N * C below 2^31 - 256 in Nchw, fewer than 2^31 tiles.
// Cost      bytes: x once a tile, so (1 + halo) * N*H*W*C + N*P*Q*C elements, the halo mostly from L2; that is the
//           limit, not the N*P*Q*C*R*S reduction steps. Hence 16-byte copies of kInFlight vectors a thread at a time
//           wherever pointers and strides are aligned, and one 16-byte shared load a tap in Nhwc.
#pragma once

#include "atrous/layout.cuh"
#include "atrous/reductions.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kPoolThreads = 256;

// One axis of the patch: which input cell each slot holds, and where the taps of each window lie.
struct PatchAxis {
  int origin;   // input coordinate of tap 0 of the tile's first window
  int outputs;  // windows of the tile
  int stride, dilation;
  int cell_step, output_pitch, tap_pitch;
  int first_tap, taps;  // of the step
  int skew;             // slots before the first cell, so that 16-byte chunks align

  __device__ __forceinline__ int slots() const {
    return skew + (outputs - 1) * output_pitch + (cell_step ? (taps - 1) * tap_pitch + 1 : output_pitch);
  }
  __device__ __forceinline__ int first_cell() const { return origin + first_tap * dilation; }
  __device__ __forceinline__ int cell(int slot) const {
    if (cell_step) return first_cell() + (slot - skew) * cell_step;
    const int output = slot / output_pitch;
    return first_cell() + output * stride + (slot - output * output_pitch) * dilation;
  }
  __device__ __forceinline__ int slot(int output, int tap) const {
    return skew + output * output_pitch + (tap - first_tap) * tap_pitch;
  }
};

// What a block computes, and where the patch keeps it.
template <class T, class Layout>
struct PoolTile {
  static constexpr bool kChannelsLast = Layout::kChannelsLast;
  static constexpr int kChunk = 16 / sizeof(T) < 8 ? 16 / sizeof(T) : 8;  // elements of a vector copy
  static constexpr int kOwned = kChannelsLast ? kChunk : sizeof(T) == 8 ? 2 : 4;

  int channels;                     // C, or N*C planes
  int image, channel, row, column;  // first of the tile
  int channels_here;                // of the tile that exist, up to whole kOwned
  PatchAxis rows, columns;
  int chunk;  // elements a thread copies at once: kChunk, or 1 where pointers or strides are not aligned

  __device__ __forceinline__ PoolTile(const PoolArguments& a) {
    channels = kChannelsLast ? a.c : a.n * a.c;
    const int tile_channels = kOwned << a.log_lanes_c;
    const int channel_tiles = (channels - 1) / tile_channels + 1;
    const int column_tiles = ((a.q - 1) >> a.log_lanes_q) + 1;
    const int row_tiles = ((a.p - 1) >> a.log_lanes_p) + 1;
    int rest = blockIdx.x;
    channel = rest % channel_tiles * tile_channels;
    rest /= channel_tiles;
    column = rest % column_tiles << a.log_lanes_q;
    rest /= column_tiles;
    row = rest % row_tiles << a.log_lanes_p;
    image = rest / row_tiles;
    const int left = channels - channel < tile_channels ? channels - channel : tile_channels;
    channels_here = (left + kOwned - 1) / kOwned * kOwned;
    const int p_left = a.p - row, q_left = a.q - column;
    rows = {row * a.stride_h - a.pad_top,
            p_left < 1 << a.log_lanes_p ? p_left : 1 << a.log_lanes_p,
            a.stride_h,
            a.dilation_h,
            a.cell_step_h,
            a.output_pitch_h,
            a.tap_pitch_h,
            0,
            0,
            0};
    columns = {column * a.stride_w - a.pad_left,
               q_left < 1 << a.log_lanes_q ? q_left : 1 << a.log_lanes_q,
               a.stride_w,
               a.dilation_w,
               a.cell_step_w,
               a.output_pitch_w,
               a.tap_pitch_w,
               0,
               0,
               0};
    chunk = copies_vectors(a) ? kChunk : 1;
  }

  // Whether every kChunk neighbours, of channels or of columns, are one aligned vector that exists wholly or not at
  // all.
  __device__ __forceinline__ bool copies_vectors(const PoolArguments& a) const {
    const int run = kChannelsLast ? 3 : 2;
    bool whole =
        is_aligned(a.x, kChunk * sizeof(T)) && a.x_stride[run] == 1 && (kChannelsLast ? a.c : a.w) % kChunk == 0;
    for (int axis = 0; axis < 4; ++axis) whole = whole && (axis == run || a.x_stride[axis] % kChunk == 0);
    return whole && (kChannelsLast || a.cell_step_w == 1);
  }

  // Whether the channels of a thread are one aligned vector of y.
  __device__ __forceinline__ bool stores_vectors(const PoolArguments& a) const {
    return kChannelsLast && is_aligned(a.y, kOwned * sizeof(T)) && a.y_stride[3] == 1 && a.y_stride[0] % kOwned == 0 &&
           a.y_stride[1] % kOwned == 0 && a.y_stride[2] % kOwned == 0;
  }

  // Offset of an image's channel, or of a plane.
  template <class Index>
  __device__ __forceinline__ Index channel_offset(const PoolArguments& a, const int64 (&stride)[4], int c) const {
    const int n = kChannelsLast ? image : c / a.c;
    if (!kChannelsLast) c -= n * a.c;
    return static_cast<Index>(n) * static_cast<Index>(stride[0]) +
           static_cast<Index>(c) * static_cast<Index>(stride[3]);
  }

  // The window rows of which any is real in the tile: later outputs start lower, and so meet the first cell sooner.
  __device__ __forceinline__ TapRange window_rows(const PoolArguments& a) const {
    const TapRange upper = taps_inside(rows.origin, a.r, a.dilation_h, 0, a.h);
    const int last = rows.origin + (rows.outputs - 1) * a.stride_h;
    const TapRange lower = taps_inside(last, a.r, a.dilation_h, 0, a.h);
    return {lower.first, upper.first + upper.count - lower.first};
  }

  __device__ __forceinline__ void step(const PoolArguments& a, int r, int s) {
    rows.first_tap = r;
    rows.taps = a.r - r < a.rows_in_step ? a.r - r : a.rows_in_step;
    columns.first_tap = s;
    columns.taps = a.s - s < a.taps_in_step ? a.s - s : a.taps_in_step;
    if (!kChannelsLast && chunk > 1) columns.skew = columns.first_cell() & (kChunk - 1);
  }
};

// Elements between neighbours of the patch. In Nhwc, where lanes share an output, one vector a cell more puts their
// taps on different banks; in Nchw rows start on whole vectors.
struct PatchPitch {
  int channel, column, row;

  template <class Tile>
  __device__ __forceinline__ PatchPitch(const PoolArguments& a, const Tile& tile) {
    if (Tile::kChannelsLast) {
      channel = 1;
      column = Tile::kOwned * ((1 << a.log_lanes_c) + (a.log_lanes_t > 0));
      row = tile.columns.slots() * column;
    } else {
      column = 1;
      row = (tile.columns.slots() + Tile::kChunk - 1) / Tile::kChunk * Tile::kChunk;
      channel = tile.rows.slots() * row;
    }
  }
};

// Copies the cells of a step into the patch, kCopied neighbours at a time; cells that do not exist become 0, unread.
template <int kCopied, class Index, class T, class Tile>
__device__ __forceinline__ void stage(const PoolArguments& a, const Tile& tile, const PatchPitch& pitch, T* patch) {
  constexpr bool kChannelsLast = Tile::kChannelsLast;
  constexpr int kInFlight = kCopied == 1 ? 8 : 4;
  const int columns = tile.columns.slots(), rows = tile.rows.slots();
  const Digits sizes = kChannelsLast ? Digits{rows, columns, tile.channels_here / kCopied}
                                     : Digits{tile.channels_here, rows, (columns + kCopied - 1) / kCopied};
  const Digits step = to_digits(blockDim.x, sizes);
  Digits at = to_digits(threadIdx.x, sizes);
  const T* x = static_cast<const T*>(a.x);
  while (at.slow < sizes.slow) {
    Vec<T, kCopied> held[kInFlight];
    int place[kInFlight];
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      place[i] = -1;
      if (at.slow >= sizes.slow) continue;
      const int channel_slot = kChannelsLast ? at.fast * kCopied : at.slow;
      const int column_slot = kChannelsLast ? at.middle : at.fast * kCopied;
      const int row_slot = kChannelsLast ? at.slow : at.middle;
      place[i] = channel_slot * pitch.channel + row_slot * pitch.row + column_slot * pitch.column;
      const int h = tile.rows.cell(row_slot), w = tile.columns.cell(column_slot), c = tile.channel + channel_slot;
      const bool exists = static_cast<unsigned>(h) < static_cast<unsigned>(a.h) &&
                          static_cast<unsigned>(w) < static_cast<unsigned>(a.w) && c < tile.channels;
      if (exists) {
        const Index offset = tile.template channel_offset<Index>(a, a.x_stride, c) +
                             static_cast<Index>(h) * static_cast<Index>(a.x_stride[1]) +
                             static_cast<Index>(w) * static_cast<Index>(a.x_stride[2]);
        held[i] = load_vec<kCopied>(x + offset);
      } else {
        held[i] = Vec<T, kCopied>{};
      }
      advance(at, step, sizes);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      if (place[i] >= 0) store_vec<kCopied>(patch + place[i], held[i]);
    }
  }
}

// The place of a thread in its block: which output of the tile it reduces, and which of the output's taps.
struct PoolThread {
  int tap, channel, row, column;

  template <class Tile>
  __device__ __forceinline__ static PoolThread of(const PoolArguments& a, const Tile&) {
    PoolThread thread;
    int rest = threadIdx.x;
    const auto digit = [&rest](int log) {
      const int value = rest & ((1 << log) - 1);
      rest >>= log;
      return value;
    };
    thread.tap = digit(a.log_lanes_t);
    if (Tile::kChannelsLast) thread.channel = digit(a.log_lanes_c);
    thread.column = digit(a.log_lanes_q);
    thread.row = digit(a.log_lanes_p);
    if (!Tile::kChannelsLast) thread.channel = rest;
    return thread;
  }
};

// Adds the real taps of one output that the step holds, in row-major order, every (1 << log_lanes)-th from `lane` on.
template <class T, class Tile, class Reduce>
__device__ __forceinline__ void reduce(const PoolArguments& a, const Tile& tile, const PatchPitch& pitch,
                                       const PoolThread& thread, const Window& window, const T* patch,
                                       Reduce (&state)[Tile::kOwned]) {
  constexpr int kOwned = Tile::kOwned;
  const TapRange rows = overlap(window.rows, tile.rows.first_tap, tile.rows.taps);
  const TapRange columns = overlap(window.columns, tile.columns.first_tap, tile.columns.taps);
  if (columns.count == 0) return;
  int row_step = 0, column_step = 1 << window.log_lanes;
  int row = 0, column = window.lane;
  if (window.log_lanes > 0) {
    row = column / columns.count;
    column -= row * columns.count;
    row_step = column_step / columns.count;
    column_step -= row_step * columns.count;
  }
  const int row_pitch = tile.rows.tap_pitch * pitch.row, column_pitch = tile.columns.tap_pitch * pitch.column;
  const T* cell = patch + thread.channel * kOwned * pitch.channel +
                  tile.rows.slot(thread.row, rows.first + row) * pitch.row +
                  tile.columns.slot(thread.column, columns.first + column) * pitch.column;
  const int forward = row_step * row_pitch + column_step * column_pitch;
  const int wrap = row_pitch - columns.count * column_pitch;
  while (row < rows.count) {
    const typename Reduce::Tap tap = Reduce::Tap::of(a, rows.first + row, columns.first + column);
    Vec<T, kOwned> cells;
    if (Tile::kChannelsLast) {
      cells = load_vec<kOwned>(cell);
    } else {
#pragma unroll
      for (int i = 0; i < kOwned; ++i) cells.value[i] = cell[i * pitch.channel];
    }
    typename Accumulator<T>::type x[kOwned];
#pragma unroll
    for (int i = 0; i < kOwned; ++i) x[i] = to_accumulator(cells.value[i]);
    Reduce::add(a, state, x, tap);
    row += row_step;
    column += column_step;
    cell += forward;
    if (column >= columns.count) {
      column -= columns.count;
      ++row;
      cell += wrap;
    }
  }
}

// The indices of one output, where the reduction has them.
template <class Index, class Reduce>
__device__ __forceinline__ void store_index(const PoolArguments&, const Window&, const Reduce&, Index) {}

template <class Index, class Real>
__device__ __forceinline__ void store_index(const PoolArguments& a, const Window& window,
                                            const MaxIndexReduction<Real>& state, Index offset) {
  const int64 cell = state.plane_offset(a, window);
  if (a.index_type == static_cast<int>(DataType::kInt32)) {
    static_cast<int32*>(a.index)[offset] = static_cast<int32>(cell);
  } else {
    static_cast<int64*>(a.index)[offset] = cell;
  }
}

template <class T>
__device__ __forceinline__ T to_element(typename Accumulator<T>::type value) {
  return static_cast<T>(value);
}
template <>
__device__ __forceinline__ float16 to_element<float16>(float32 value) {
  return to_float16(value);
}
template <>
__device__ __forceinline__ bfloat16 to_element<bfloat16>(float32 value) {
  return to_bfloat16(value);
}

// Writes the outputs of one thread: one vector where they are neighbours and y is aligned, else one by one.
template <class T, class Index, class Tile, class Reduce, class Real>
__device__ __forceinline__ void finish(const PoolArguments& a, const Tile& tile, const PoolThread& thread,
                                       const Window& window, const Reduce (&state)[Tile::kOwned], Real divisor) {
  constexpr int kOwned = Tile::kOwned;
  const int p = tile.row + thread.row, q = tile.column + thread.column;
  const int first = tile.channel + thread.channel * kOwned;
  Vec<T, kOwned> results;
#pragma unroll
  for (int i = 0; i < kOwned; ++i) results.value[i] = to_element<T>(state[i].finish(a, divisor));
  T* y = static_cast<T*>(a.y);
  const Index pixel = static_cast<Index>(p) * static_cast<Index>(a.y_stride[1]) +
                      static_cast<Index>(q) * static_cast<Index>(a.y_stride[2]);
  const Index index_pixel = static_cast<Index>(p) * static_cast<Index>(a.index_stride[1]) +
                            static_cast<Index>(q) * static_cast<Index>(a.index_stride[2]);
  const bool whole = tile.stores_vectors(a) && first + kOwned <= tile.channels;
  if (whole) store_vec<kOwned>(y + pixel + tile.template channel_offset<Index>(a, a.y_stride, first), results);
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    if (first + i >= tile.channels) continue;
    if (!whole) y[pixel + tile.template channel_offset<Index>(a, a.y_stride, first + i)] = results.value[i];
    const Index offset = index_pixel + tile.template channel_offset<Index>(a, a.index_stride, first + i);
    store_index(a, window, state[i], offset);
  }
}

// The window of a thread; one without an output has no taps.
template <class Tile>
__device__ __forceinline__ Window window_of(const PoolArguments& a, const Tile& tile, const PoolThread& thread) {
  Window window{0, 0, {0, 0}, {0, 0}, thread.tap, a.log_lanes_t};
  if (thread.row >= tile.rows.outputs || thread.column >= tile.columns.outputs) return window;
  window.start_h = tile.rows.origin + thread.row * a.stride_h;
  window.start_w = tile.columns.origin + thread.column * a.stride_w;
  window.rows = taps_inside(window.start_h, a.r, a.dilation_h, 0, a.h + (a.pad_bottom < 0 ? a.pad_bottom : 0));
  window.columns = taps_inside(window.start_w, a.s, a.dilation_w, 0, a.w + (a.pad_right < 0 ? a.pad_right : 0));
  return window;
}

template <class T, class Layout, class Index, template <class> class Reduction>
__global__ void __launch_bounds__(kPoolThreads, 2) pool(const __grid_constant__ PoolArguments a) {
  using Tile = PoolTile<T, Layout>;
  using Reduce = Reduction<typename Accumulator<T>::type>;
  constexpr int kOwned = Tile::kOwned;
  Tile tile(a);
  const PoolThread thread = PoolThread::of(a, tile);
  const Window window = window_of(a, tile, thread);
  const bool exists = thread.row < tile.rows.outputs && thread.column < tile.columns.outputs &&
                      thread.channel * kOwned < tile.channels_here;
  Reduce state[kOwned];
#pragma unroll
  for (int i = 0; i < kOwned; ++i) state[i].start(a);

  T* patch = reinterpret_cast<T*>(prims::dynamic_shared());  // [rows, columns, channels] or [channels, rows, columns]
  const TapRange tile_rows = tile.window_rows(a);
  for (int r = tile_rows.first; r < tile_rows.first + tile_rows.count; r += a.rows_in_step) {
    for (int s = 0; s < a.s; s += a.taps_in_step) {
      tile.step(a, r, s);
      const PatchPitch pitch(a, tile);
      if (tile.chunk > 1) {
        stage<Tile::kChunk, Index>(a, tile, pitch, patch);
      } else {
        stage<1, Index>(a, tile, pitch, patch);
      }
      prims::sync_block();
      if (exists) reduce(a, tile, pitch, thread, window, patch, state);
      prims::sync_block();
    }
  }

  for (int mask = 1; mask < 1 << a.log_lanes_t; mask *= 2) {
#pragma unroll
    for (int i = 0; i < kOwned; ++i) state[i].merge(a, state[i].across(mask));
  }
  const auto divisor = Reduce::divisor(a, window);
  if (exists && thread.tap == 0) finish<T, Index>(a, tile, thread, window, state, divisor);
}

}  // namespace atrous
