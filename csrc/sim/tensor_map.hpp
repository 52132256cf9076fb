// The model's own encoding of a tensor map, and what the model of the copies reads from it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "atrous/tensor_map.hpp"
#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

struct TensorMapImage {
  std::uint64_t magic;
  std::uint64_t address;
  std::uint32_t last[kTensorMapRank];           // size - 1 of each dimension: a size may be 2^32
  std::uint32_t pitch[kTensorMapRank - 1];      // stride / 16 of dimensions 1 and up: a stride is below 2^40 ...
  std::uint8_t high_pitch[kTensorMapRank - 1];  // ... and these are the bits of it past 32
  std::uint16_t box[kTensorMapRank];            // elements that the box spans; im2col: channels in [0]
  std::uint16_t pixels;                         // im2col: pixels of a column; 0: tiled
  std::int16_t corner[2][kTensorMapSpatial];    // im2col: lower, upper
  std::uint8_t step[kTensorMapRank];            // element strides
  std::uint8_t rank;
  std::uint8_t element_bytes;
  std::uint8_t swizzle;  // bytes
  std::uint64_t check;   // of all the rest, so that a map that was written over is told
  std::uint8_t unused[32];

  bool is_im2col() const { return pixels != 0; }
  std::int64_t size(int dimension) const { return static_cast<std::int64_t>(last[dimension]) + 1; }
  std::int64_t stride(int dimension) const {
    if (dimension == 0) return element_bytes;
    return (static_cast<std::int64_t>(high_pitch[dimension - 1]) << 32 | pitch[dimension - 1]) * 16;
  }
  // Elements that a copy takes along a dimension: the densest one knows no steps.
  int taken(int dimension) const {
    return dimension == 0 ? box[0] : (box[dimension] + step[dimension] - 1) / step[dimension];
  }
  unsigned row_bytes() const { return static_cast<unsigned>(box[0]) * element_bytes; }
  unsigned rows() const;
  unsigned box_bytes() const { return rows() * row_bytes(); }
};

static_assert(sizeof(TensorMapImage) == sizeof(TensorMap), "an image fills the bytes of a TensorMap");

// The image in `map`; a failure named after `what` unless there is one, on a multiple of 64 and outside shared memory.
TensorMapImage require_tensor_map(const void* map, const char* what, Site site);

}  // namespace atrous::sim
