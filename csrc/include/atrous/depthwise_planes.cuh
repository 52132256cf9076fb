// What conv_depthwise_planes has in shared memory, and how bands of x, weights and terms get there.
#pragma once

#include "atrous/geometry.hpp"
#include "atrous/plane_runs.cuh"
#include "atrous/stream_arguments.hpp"

namespace atrous {

constexpr int kPlanesThreads = 256;
constexpr int kPlaneRun = 4;  // outputs that a thread finishes at a time

// A strip of output rows, and the rows of x that its windows hold: none where they lie wholly in padding.
struct PlaneItem {
  int image, first_p, rows;
  int first_h, bands;  // bands: rows of x

  __device__ __forceinline__ PlaneItem(const PlanesArguments& a, unsigned index) {
    const ConvArguments& conv = a.conv;
    image = index / a.strips;
    first_p = (index - image * a.strips) * a.strip_rows;
    rows = min(a.strip_rows, conv.p - first_p);
    const int begin = first_p * conv.stride_h - conv.pad_top;
    const int end = begin + (rows - 1) * conv.stride_h + (conv.r - 1) * conv.dilation_h + 1;
    first_h = max(begin, 0);
    bands = max(min(end, conv.h) - first_h, 0);
  }
};

// What a block has in dynamic shared memory.
template <class T>
struct PlanesShared {
  T* x;             // [2][x_planes][x_pitch]
  float32* sum;     // [planes][y_pitch]
  float32* weight;  // [planes][R * S]
  float32* scale;   // [planes]
  float32* bias;    // [planes]

  __device__ __forceinline__ explicit PlanesShared(const PlanesArguments& a) {
    x = reinterpret_cast<T*>(prims::dynamic_shared());
    sum = reinterpret_cast<float32*>(x + 2 * a.x_planes * a.x_pitch);
    weight = sum + a.planes * a.y_pitch;
    scale = weight + a.planes * a.conv.r * a.conv.s;
    bias = scale + a.planes;
  }
};

// The channels of a block, and the bands of x on their way into a slot.
template <class T>
struct BandLoader {
  static constexpr int kPiece = 16 / sizeof(T);

  const PlanesArguments& a;
  int first_k, planes;    // of y
  int first_c, x_planes;  // of x
  bool whole;             // rows of x are neighbours, in pieces

  __device__ __forceinline__ explicit BandLoader(const PlanesArguments& a) : a(a) {
    const ConvArguments& conv = a.conv;
    first_k = blockIdx.x % a.slabs * a.planes;
    planes = min(a.planes, conv.k - first_k);
    first_c = first_k / a.multiplier;
    x_planes = (first_k + planes - 1) / a.multiplier - first_c + 1;
    // The piece with a run's first element may begin before it, and what it begins with must be of x, since another
    // block may write what is not: rows of the same plane, or planes and images that follow each other without a gap.
    const int64 plane = static_cast<int64>(conv.h) * conv.w, image = conv.c * plane;
    const bool planes_follow = conv.x_stride[3] == plane, images_follow = planes_follow && conv.x_stride[0] == image;
    whole = is_aligned(conv.x, 16) && conv.x_stride[2] == 1 && conv.x_stride[1] == conv.w &&
            (planes_follow || conv.x_stride[3] % kPiece == 0) &&
            (images_follow || conv.x_stride[0] % kPiece == 0 || conv.n == 1);
  }

  __device__ __forceinline__ PlaneRuns runs(const PlaneItem& item) const {
    const ConvArguments& conv = a.conv;
    const bool is_one = whole && item.bands == conv.h && conv.x_stride[3] == static_cast<int64>(conv.h) * conv.w;
    const int64 offset = item.image * conv.x_stride[0] + first_c * conv.x_stride[3] + item.first_h * conv.x_stride[1];
    return {is_one, item.bands * conv.w, a.x_pitch, whole ? kPiece : 1, offset, conv.x_stride[3]};
  }

  // slot: [x_planes][x_pitch]
  __device__ __forceinline__ void start(const PlaneItem& item, T* slot) const {
    const PlaneRuns of = runs(item);
    if (whole) {
      copy_runs(static_cast<const T*>(a.conv.x), of, x_planes, slot);
    } else {
      load_elements(of, slot);
    }
  }

  __device__ __forceinline__ void load_elements(const PlaneRuns& of, T* slot) const {
    const ConvArguments& conv = a.conv;
    const T* x = static_cast<const T*>(conv.x);  // [N, H, W, C] by x_stride
#pragma unroll 4
    for (int index = threadIdx.x; index < x_planes * of.apart; index += blockDim.x) {
      const int plane = index / of.apart, place = index - plane * of.apart, row = place / conv.w;
      slot[plane * of.pitch + place] =
          x[of.offset + plane * of.step + row * conv.x_stride[1] + (place - row * conv.w) * conv.x_stride[2]];
    }
  }
};

// Fetches the weights and terms of a block. Where its filters are one run, warps read it from where sectors begin.
template <class T>
__device__ __forceinline__ void load_filters(const BandLoader<T>& block, const PlanesShared<T>& shared) {
  const ConvArguments& conv = block.a.conv;
  const T* weight = static_cast<const T*>(conv.weight);  // [K, R, S, 1] by weight_stride
  const int taps = conv.r * conv.s, before = static_cast<int>(block.first_k * conv.weight_stride[0] & 31);
#pragma unroll 4
  for (int element = static_cast<int>(threadIdx.x) - before; element < block.planes * taps; element += blockDim.x) {
    if (element < 0) continue;
    const int plane = element / taps, tap = element - plane * taps, r = tap / conv.s, s = tap - r * conv.s;
    shared.weight[element] = to_accumulator(weight[(block.first_k + plane) * conv.weight_stride[0] +
                                                   r * conv.weight_stride[1] + s * conv.weight_stride[2]]);
  }
  for (int plane = threadIdx.x; plane < block.planes; plane += blockDim.x) {
    const int k = block.first_k + plane;
    if (conv.scale != nullptr)
      shared.scale[plane] = load_real<float32>(conv.scale, static_cast<DataType>(conv.epilogue.scale_type), k);
    if (conv.bias != nullptr)
      shared.bias[plane] = load_real<float32>(conv.bias, static_cast<DataType>(conv.epilogue.bias_type), k);
  }
}

}  // namespace atrous
