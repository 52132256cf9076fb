// Pooling by one walk over every window: maximum, average, Lp norm, root mean square and weighted average.
//
// Computes  y[n, p, q, c] = finish(add over the real taps (r, s) of x[n, p * stride_h - pad_top + r * dilation_h,
//           q * stride_w - pad_left + s * dilation_w, c]), with start, add, merge and finish of reductions.cuh; a tap is
//           real where that cell exists and is not cropped. Padding is never read and never added.
// Layout    x and y by their strides. Nhwc: a thread owns kOwned neighbouring channels of an output pixel. Nchw: kOwned
//           planes, where a plane is one (n, c), at the same output pixel.
// Mapping   block = lanes_t x lanes_c x lanes_q x lanes_p threads in Nhwc, lanes_t x lanes_q x lanes_p x lanes_c in
//           Nchw, the first running fastest, all powers of two, 32 to 256 together; blockIdx.x counts tiles of channels,
//           then of output columns, of output rows, of images. The lanes_t lanes of an output lie in one warp, take
//           every lanes_t-th tap and merge by shuffles in a fixed tree. The shape never depends on N, so an image
//           gives the same bits in every batch.
// Shared    the patch of x that a tile's windows cover, in steps of rows_in_step x taps_in_step taps so that any window
//           fits: neighbouring windows overlap, and each cell comes from memory once a tile. Neighbours in the patch are
//           cell_step input cells apart (the common divisor of stride and dilation), or, where that would hold mostly
//           cells nobody reads, the patch holds each window's taps on their own (cell_step 0).
// Requires  padded extents below 2^30, R * S below 2^31, fewer than 2^31 tiles.
// Cost      bytes: x once a tile, so (1 + halo) * N*H*W*C + N*P*Q*C elements, the halo mostly from L2; that is the
//           limit, not the N*P*Q*C*R*S reduction steps. Hence 16-byte copies of kInFlight vectors a thread at a time
//           wherever pointers and strides are aligned, and one 16-byte shared load a tap in Nhwc.
#pragma once

#include "atrous/reductions.cuh"
#include "atrous/vec.cuh"

namespace atrous {

struct Nhwc;
struct Nchw;

constexpr int kPoolThreads = 256;

template <class Layout>
struct ChannelsLast {
  static constexpr bool kValue = false;
};
template <>
struct ChannelsLast<Nhwc> {
  static constexpr bool kValue = true;
};

// One axis of the patch: which input cell each slot holds, and where the taps of each window lie.
struct PatchAxis {
  int origin;        // input coordinate of tap 0 of the tile's first window
  int outputs;       // windows of the tile
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
  static constexpr bool kChannelsLast = ChannelsLast<Layout>::kValue;
  static constexpr int kChunk = 16 / sizeof(T) < 8 ? 16 / sizeof(T) : 8;  // elements of a vector copy
  static constexpr int kOwned = kChannelsLast ? kChunk : sizeof(T) == 8 ? 2 : 4;

  int channels;  // C, or N*C planes
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
    rows = {row * a.stride_h - a.pad_top, p_left < 1 << a.log_lanes_p ? p_left : 1 << a.log_lanes_p,
            a.stride_h, a.dilation_h, a.cell_step_h, a.output_pitch_h, a.tap_pitch_h, 0, 0, 0};
    columns = {column * a.stride_w - a.pad_left, q_left < 1 << a.log_lanes_q ? q_left : 1 << a.log_lanes_q,
               a.stride_w, a.dilation_w, a.cell_step_w, a.output_pitch_w, a.tap_pitch_w, 0, 0, 0};
    chunk = copies_vectors(a) ? kChunk : 1;
  }

  // Whether every kChunk neighbours, of channels or of columns, are one aligned vector that exists wholly or not at all.
  __device__ __forceinline__ bool copies_vectors(const PoolArguments& a) const {
    const int run = kChannelsLast ? 3 : 2;
    bool whole = is_aligned(a.x, kChunk * sizeof(T)) && a.x_stride[run] == 1 && (kChannelsLast ? a.c : a.w) % kChunk == 0;
    for (int axis = 0; axis < 4; ++axis) whole = whole && (axis == run || a.x_stride[axis] % kChunk == 0);
    return whole && (kChannelsLast || a.cell_step_w == 1);
  }

  __device__ __forceinline__ void step(const PoolArguments& a, int r, int s) {
    rows.first_tap = r;
    rows.taps = a.r - r < a.rows_in_step ? a.r - r : a.rows_in_step;
    columns.first_tap = s;
    columns.taps = a.s - s < a.taps_in_step ? a.s - s : a.taps_in_step;
    if (!kChannelsLast && chunk > 1) columns.skew = columns.first_cell() & (kChunk - 1);
  }

  // Elements between neighbours of the patch. In Nhwc one vector of padding a cell puts the taps of the lanes of one
  // output on different banks; in Nchw rows start on whole vectors, with room for the skew.
  __device__ __forceinline__ int channel_pitch() const {
    return kChannelsLast ? 1 : rows.slots() * row_pitch(0);
  }
  __device__ __forceinline__ int column_pitch(const PoolArguments& a) const {
    return kChannelsLast ? kOwned * ((1 << a.log_lanes_c) + (a.log_lanes_t > 0)) : 1;
  }
  __device__ __forceinline__ int row_pitch(int column_pitch) const {
    if (kChannelsLast) return columns.slots() * column_pitch;
    return (columns.slots() + kChunk - 1) / kChunk * kChunk;
  }
};
