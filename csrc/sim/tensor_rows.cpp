// Walks boxes and bounding boxes of tensors, row by row.
#include "tensor_rows.hpp"

#include <algorithm>

namespace atrous::sim {

namespace {

// The row of elements first, first + 1 ... of dimension 0, at these places of the others.
TensorRow row_at(const TensorMapImage& map, std::int64_t first, const std::int64_t* place) {
  TensorRow row;
  std::uint64_t address = map.address;
  for (int i = 1; i < map.rank; ++i) {
    if (place[i] < 0 || place[i] >= map.size(i)) return row;
    address += static_cast<std::uint64_t>(place[i] * map.stride(i));
  }
  const std::int64_t begin = std::max<std::int64_t>(first, 0);
  const std::int64_t end = std::min<std::int64_t>(first + map.box[0], map.size(0));
  if (begin >= end) return row;
  row.address = address + static_cast<std::uint64_t>(begin * map.element_bytes);
  row.first = static_cast<unsigned>((begin - first) * map.element_bytes);
  row.bytes = static_cast<unsigned>((end - begin) * map.element_bytes);
  return row;
}

}  // namespace

std::vector<TensorRow> tile_rows(const TensorMapImage& map, const int* coordinates) {
  std::vector<TensorRow> rows;
  rows.reserve(map.rows());
  int step[kTensorMapRank] = {};
  std::int64_t place[kTensorMapRank] = {};
  for (unsigned i = 0; i < map.rows(); ++i) {
    for (int d = 1; d < map.rank; ++d) place[d] = static_cast<std::int64_t>(coordinates[d]) + step[d] * map.step[d];
    rows.push_back(row_at(map, coordinates[0], place));
    for (int d = 1; d < map.rank && ++step[d] == map.taken(d); ++d) step[d] = 0;
  }
  return rows;
}

std::vector<TensorRow> im2col_rows(const TensorMapImage& map, const int* coordinates, const int* offsets) {
  const int last = map.rank - 1;  // the dimension of images
  std::vector<TensorRow> rows;
  rows.reserve(map.pixels);
  std::int64_t walk[kTensorMapRank] = {};
  std::int64_t place[kTensorMapRank] = {};
  for (int d = 1; d <= last; ++d) walk[d] = coordinates[d];
  for (unsigned i = 0; i < map.pixels; ++i) {
    for (int d = 1; d < last; ++d) place[d] = walk[d] + offsets[d - 1];
    place[last] = walk[last];
    rows.push_back(row_at(map, coordinates[0], place));
    int d = 1;
    // The bounding box ends at the upper corner, counted from the tensor's last pixel, and includes it.
    for (; d < last; ++d) {
      walk[d] += map.step[d];
      if (walk[d] <= map.size(d) - 1 + map.corner[1][d - 1]) break;
      walk[d] = map.corner[0][d - 1];
    }
    if (d == last) ++walk[last];
  }
  return rows;
}

}  // namespace atrous::sim
