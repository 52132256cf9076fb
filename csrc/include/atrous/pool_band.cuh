// What pool_bands has in shared memory, and how bands of x get there and outputs from there to y.
#pragma once

#include "atrous/plane_runs.cuh"
#include "atrous/stream_arguments.hpp"

namespace atrous {

// A strip of output rows of neighbouring planes, and the rows of x that their windows hold: none where they lie wholly
// in padding.
struct BandItem {
  int image, plane, planes;  // plane: the first of them in the image
  int first_p, rows;
  int first_h, bands;  // bands: rows of x

  __device__ __forceinline__ BandItem(const PoolBandsArguments& s, unsigned index) {
    const PoolArguments& a = s.pool;
    const unsigned above = index / s.strips;
    image = above / s.groups;
    plane = (above - image * s.groups) * s.planes;
    planes = min(s.planes, s.image_planes - plane);
    first_p = (index - above * s.strips) * s.strip_rows;
    rows = min(s.strip_rows, a.p - first_p);
    const int begin = first_p * a.stride_h - a.pad_top;
    const int end = begin + (rows - 1) * a.stride_h + (a.r - 1) * a.dilation_h + 1;
    first_h = max(begin, 0);
    bands = max(min(end, a.h + min(0, a.pad_bottom)) - first_h, 0);
  }
};

// What a block has in dynamic shared memory.
template <class T, class Real>
struct BandShared {
  T* x;          // [2][planes][x_pitch]
  T* y;          // [planes][y_pitch]
  Real* weight;  // [R, S], of a weighted average

  __device__ __forceinline__ explicit BandShared(const PoolBandsArguments& s) {
    x = reinterpret_cast<T*>(prims::dynamic_shared());
    y = x + 2 * s.planes * s.x_pitch;
    weight = reinterpret_cast<Real*>(y + s.planes * s.y_pitch);
  }
};

// The ways of items to shared memory, and of their outputs to y.
template <class T>
struct BandMover {
  static constexpr int kPiece = 16 / sizeof(T);

  const PoolBandsArguments& s;
  bool x_whole, y_whole;  // rows are neighbours, in pieces
  bool y_aligned;

  __device__ __forceinline__ explicit BandMover(const PoolBandsArguments& s) : s(s) {
    const PoolArguments& a = s.pool;
    // The piece with a run's first element may begin before it, and what it begins with must be of x, since another
    // block may write what is not: rows of the same plane, or planes and images that follow each other without a gap.
    const bool planes_follow = s.image_planes == 1 || s.x_plane == static_cast<int64>(a.h) * a.w * s.inner;
    const bool images_follow =
        static_cast<unsigned>(s.groups * s.strips) == s.items || s.x_image == s.image_planes * s.x_plane;
    x_whole = is_aligned(a.x, 16) && a.x_stride[1] == static_cast<int64>(a.w) * s.inner && is_row(a.x_stride) &&
              (planes_follow || s.x_plane % kPiece == 0) &&
              ((planes_follow && images_follow) || s.x_image % kPiece == 0);
    y_whole = a.y_stride[1] == static_cast<int64>(a.q) * s.inner && is_row(a.y_stride);
    y_aligned = is_aligned(a.y, 16);
  }

  // Whether the elements of a row are neighbours.
  __device__ __forceinline__ bool is_row(const int64 (&stride)[4]) const {
    return stride[2] == s.inner && (s.inner == 1 || stride[3] == 1);
  }

  __device__ __forceinline__ PlaneRuns x_runs(const BandItem& item) const {
    const PoolArguments& a = s.pool;
    const int row = a.w * s.inner;
    const bool is_one = x_whole && item.bands == a.h && s.x_plane == static_cast<int64>(a.h) * row;
    const int64 offset = item.image * s.x_image + item.plane * s.x_plane + item.first_h * a.x_stride[1];
    return {is_one, item.bands * row, s.x_pitch, x_whole ? kPiece : 1, offset, s.x_plane};
  }
  __device__ __forceinline__ PlaneRuns y_runs(const BandItem& item) const {
    const PoolArguments& a = s.pool;
    const int row = a.q * s.inner;
    const bool is_one = y_whole && item.rows == a.p && s.y_plane == static_cast<int64>(a.p) * row;
    const int64 offset = item.image * s.y_image + item.plane * s.y_plane + item.first_p * a.y_stride[1];
    return {is_one, item.rows * row, s.y_pitch, y_whole ? kPiece : 1, offset, s.y_plane};
  }

  // slot: [planes][x_pitch], shared
  __device__ __forceinline__ void fetch(const BandItem& item, T* slot) const {
    const PoolArguments& a = s.pool;
    const PlaneRuns of = x_runs(item);
    const T* const x = static_cast<const T*>(a.x);  // [N, H, W, C] by x_stride
    if (x_whole) {
      copy_runs(x, of, item.planes, slot);
      return;
    }
#pragma unroll 4
    for (int index = threadIdx.x; index < item.planes * of.apart; index += blockDim.x) {
      const int plane = index / of.apart, place = index - plane * of.apart;
      slot[of.start(plane) + place] = x[of.offset + plane * of.step + within(place, a.w, a.x_stride)];
    }
  }

  // results: [planes][y_pitch], shared
  __device__ __forceinline__ void write(const BandItem& item, const T* results) const {
    const PoolArguments& a = s.pool;
    const PlaneRuns of = y_runs(item);
    T* const y = static_cast<T*>(a.y);  // [N, P, Q, C] by y_stride
    if (y_whole) {
      write_runs(of, item.planes, results);
      return;
    }
#pragma unroll 1
    for (int index = threadIdx.x; index < item.planes * of.apart; index += blockDim.x) {
      const int plane = index / of.apart, place = index - plane * of.apart;
      y[of.offset + plane * of.step + within(place, a.q, a.y_stride)] = results[of.start(plane) + place];
    }
  }

  // Elements from the first of a band to number `place` of its rows, which are `columns` wide.
  __device__ __forceinline__ int64 within(int place, int columns, const int64 (&stride)[4]) const {
    const int column = place / s.inner, row = column / columns;
    return row * stride[1] + (column - row * columns) * stride[2] + (place - column * s.inner) * stride[3];
  }

  __device__ __forceinline__ void write_runs(const PlaneRuns& of, int planes, const T* results) const {
    T* const y = static_cast<T*>(s.pool.y);
    const int count = of.count(planes), length = of.length(planes);
    const int pieces = (length + 2 * (kPiece - 1)) / kPiece;
#pragma unroll 1
    for (int index = threadIdx.x; index < count * pieces; index += blockDim.x) {
      const int run = index / pieces, first = (index - run * pieces) * kPiece - of.phase(run);
      if (first >= length) continue;
      const T* const from = results + run * of.pitch + of.phase(run) + first;
      T* const to = y + of.offset + run * of.step + first;
      if (y_aligned && first >= 0 && first + kPiece <= length) {
        store_vec<kPiece>(to, load_vec<kPiece>(from));
        continue;
      }
#pragma unroll
      for (int i = 0; i < kPiece; ++i) {
        if (first + i >= 0 && first + i < length) to[i] = from[i];
      }
    }
  }
};

}  // namespace atrous
