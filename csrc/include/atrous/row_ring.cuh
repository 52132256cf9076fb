// Rows of x on their way through a ring in shared memory: which rows a strip of outputs reads, and how they get there.
#pragma once

#include "atrous/layout.cuh"
#include "atrous/prims/async_copy.cuh"
#include "atrous/reductions.cuh"
#include "atrous/stream_arguments.hpp"
#include "atrous/vec.cuh"

namespace atrous {

// Neighbouring channels of a thread: 16 bytes.
template <class T>
constexpr int kStreamOwned = 16 / static_cast<int>(sizeof(T));

// The outputs of a block: a strip of rows, `columns` wide, of one image's channels.
template <int kOwned>
struct StreamTile {
  int image, channel, channels;  // first and count, of those that exist
  int row, rows;
  int column, columns;
  int first_h, first_w;  // input coordinates of tap (0, 0) of the first window

  __device__ __forceinline__ StreamTile(const PoolStreamArguments& s) {
    const PoolArguments& a = s.pool;
    const int tile_channels = kOwned << a.log_lanes_c;
    const int channel_tiles = (a.c - 1) / tile_channels + 1;
    const int column_tiles = (a.q - 1) / s.columns_in_tile + 1;
    const int strips = (a.p - 1) / s.rows_in_strip + 1;
    int rest = blockIdx.x;
    channel = rest % channel_tiles * tile_channels;
    rest /= channel_tiles;
    column = rest % column_tiles * s.columns_in_tile;
    rest /= column_tiles;
    row = rest % strips * s.rows_in_strip;
    image = rest / strips;
    channels = min(tile_channels, a.c - channel);
    columns = min(s.columns_in_tile, a.q - column);
    rows = min(s.rows_in_strip, a.p - row);
    first_h = row * a.stride_h - a.pad_top;
    first_w = column * a.stride_w - a.pad_left;
  }
};

// Copies rows of x into slots of the ring, [column, channel], in units of neighbouring channels that exist wholly or
// not at all. Cells outside of the image are not written, nor read; the channels past C of a thread that has others are
// 0. A thread goes from unit to unit by steps that the constructor worked out.
template <class T>
struct RowCopier {
  static constexpr int kOwned = kStreamOwned<T>;
  const PoolArguments& a;
  const T* source;  // [H, W, C] of the image, from the tile's first channel on
  int channels;     // of the tile that exist
  int first_column, pitch;
  int unit;  // bytes: 16, 8 or 4 by asynchronous copies, else one element, which the thread waits for
  int outers, inners, outer, inner, outer_step, inner_step;
  int64 start, step, wrap;  // elements from source to the first unit, to the next, and back when inner starts over

  __device__ __forceinline__ RowCopier(const PoolStreamArguments& s, const StreamTile<kOwned>& tile)
      : a(s.pool), channels(tile.channels), first_column(tile.first_w), pitch(s.pitch) {
    source = static_cast<const T*>(a.x) + tile.image * a.x_stride[0] + tile.channel * a.x_stride[3];
    unit = takes(16) ? 16 : takes(8) ? 8 : takes(4) ? 4 : sizeof(T);
    const int elements = unit / static_cast<int>(sizeof(T));
    outers = (tile.columns - 1) * a.stride_w + a.s;
    inners = (channels + kOwned - 1) / kOwned * (kOwned / elements);
    const int thread = threadIdx.x, threads = blockDim.x;
    outer = thread / inners;
    inner = thread - outer * inners;
    outer_step = threads / inners;
    inner_step = threads - outer_step * inners;
    const int64 inner_pitch = a.x_stride[3] * elements;
    start = (first_column + outer) * a.x_stride[2] + inner * inner_pitch;
    step = outer_step * a.x_stride[2] + inner_step * inner_pitch;
    wrap = a.x_stride[2] - inners * inner_pitch;
  }

  // Whether all neighbours come in aligned units of so many bytes.
  __device__ __forceinline__ bool takes(int bytes) const {
    const int elements = bytes / static_cast<int>(sizeof(T));
    if (elements == 0 || !is_aligned(a.x, bytes)) return false;
    if (elements == 1) return true;
    return a.x_stride[3] == 1 && a.c % elements == 0 && (a.x_stride[0] | a.x_stride[1] | a.x_stride[2]) % elements == 0;
  }

  // row: [W, C] of the image, from the tile's first channel on
  template <int kBytes>
  __device__ __forceinline__ void copy_units(const T* row, T* slot) const {
    constexpr int kElements = kBytes / static_cast<int>(sizeof(T));
    constexpr bool kAsynchronous = kBytes >= 4;
    constexpr int kHeld = kAsynchronous ? 1 : 8;  // loads on their way before the first is stored
    int i = outer, j = inner;
    int64 offset = start;
    while (i < outers) {
      T held[kHeld];
      int place[kHeld];
#pragma unroll
      for (int k = 0; k < kHeld; ++k) {
        place[k] = -1;
        if (i >= outers) continue;
        if (static_cast<unsigned>(first_column + i) < static_cast<unsigned>(a.w)) {
          const bool exists = j * kElements < channels;
          place[k] = i * pitch + j * kElements;
          if constexpr (kAsynchronous) {
            prims::copy_async<kBytes>(slot + place[k], exists ? row + offset : static_cast<const T*>(a.x),
                                      exists ? kBytes : 0);
          } else {
            held[k] = exists ? row[offset] : T{};
          }
        }
        i += outer_step;
        j += inner_step;
        offset += step;
        if (j >= inners) {
          j -= inners;
          ++i;
          offset += wrap;
        }
      }
      if constexpr (!kAsynchronous) {
#pragma unroll
        for (int k = 0; k < kHeld; ++k) {
          if (place[k] >= 0) slot[place[k]] = held[k];
        }
      }
    }
  }

  // slot: [columns, pitch], shared
  __device__ __forceinline__ void copy(int h, T* slot) const {
    const T* const row = source + h * a.x_stride[1];
    if (unit == 16) {
      copy_units<16>(row, slot);
    } else if (unit == 8) {
      copy_units<8>(row, slot);
    } else if (unit == 4) {
      copy_units<4>(row, slot);
    } else {
      copy_units<sizeof(T)>(row, slot);
    }
  }
};

}  // namespace atrous
