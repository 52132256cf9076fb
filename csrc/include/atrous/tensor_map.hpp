// Tensor maps: the 128 opaque bytes that a kernel hands to the copy engine, and the request that they encode.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// The size and alignment of the driver's CUtensorMap. It stands in the argument struct of a kernel, which is passed by
// value as a __grid_constant__, or else in global memory.
struct alignas(64) TensorMap {
  unsigned long long words[16];
};

enum class TensorMapKind : int { kTiled, kIm2col };

constexpr int kTensorMapRank = 5;
constexpr int kTensorMapSpatial = 3;

// Dimension 0 runs fastest and is dense. Never interleaved; what lies outside the tensor reads as zero. Field for field
// the struct TensorMapRequest of launch.py.
struct TensorMapRequest {
  int kind;                             // TensorMapKind
  int element_type;                     // DataType
  int rank;                             // 1 to 5; im2col: 3 (c, w, n), 4 (c, w, h, n), 5 (c, w, h, d, n)
  int swizzle;                          // bytes that it permutes: 0, 32, 64 or 128
  int64 sizes[kTensorMapRank];          // elements
  int64 strides[kTensorMapRank - 1];    // bytes, of dimensions 1 and up
  int box[kTensorMapRank];              // tiled: elements that the box spans
  int element_strides[kTensorMapRank];  // steps inside the box, or inside im2col's bounding box
  int lower_corner[kTensorMapSpatial];  // im2col: first pixel of the bounding box, w first
  int upper_corner[kTensorMapSpatial];  // im2col: its last pixel, counted from the image's last, w first
  int channels_per_pixel;               // im2col
  int pixels_per_column;                // im2col
  int pointer_slot;                     // which pointer of the launch is the tensor's address
  int offset;                           // of the TensorMap in the parameters, in bytes; a multiple of 64
};

}  // namespace atrous
