// Which elements of a tensor a copy touches: a box or a column of pixels as rows, each with the part inside the tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "tensor_map.hpp"

namespace atrous::sim {

// One row of a box: row_bytes() bytes, of which some stand in the tensor and the rest is outside it.
struct TensorRow {
  std::uint64_t address = 0;  // of the first byte inside
  unsigned first = 0;         // its place in the row
  unsigned bytes = 0;         // inside; 0 for a row that lies outside altogether
};

// coordinates: [rank], the densest first
std::vector<TensorRow> tile_rows(const TensorMapImage& map, const int* coordinates);

// coordinates: [rank], c, w, h, d, n as far as the map has them; offsets: [rank - 2]
std::vector<TensorRow> im2col_rows(const TensorMapImage& map, const int* coordinates, const int* offsets);

}  // namespace atrous::sim
