// The model of ldmatrix and stmatrix: rows of shared memory and the fragments that the lanes of a warp hold of them.
#include "atrous_sim/matrix.hpp"

#include <cstdio>

#include "race.hpp"
#include "services.hpp"
#include "traffic.hpp"

namespace atrous::sim {

namespace {

constexpr int kRows = 8;  // of a matrix, and elements of a row
constexpr int kRowBytes = 16;

struct Lane {
  unsigned* registers;  // [count]
  unsigned char* row;
  int count;
  bool is_transposed;
  const char* name;
  race::Agent agent;
  Site site;
  const void* from;  // the instruction behind the call
};

struct Matrix {
  std::uint16_t element[kRows][kRows];
};

const Lane& lane_of(void* const* left, int lane) { return *static_cast<const Lane*>(left[lane]); }

// Two elements of the matrix, lower half first: where they stand is the fragment map of the PTX ISA, "Matrix fragment
// layout" of ldmatrix and stmatrix.
std::uint16_t& element_of(Matrix& matrix, int lane, int half, bool is_transposed) {
  const int across = lane / 4, along = 2 * (lane % 4) + half;
  return is_transposed ? matrix.element[along][across] : matrix.element[across][along];
}

// Lane 8 i + j gives row j of matrix i.
unsigned char* checked_row(const Lane& lane, int number) {
  const char* file = std::strrchr(lane.site.file, '/');
  char what[160];
  std::snprintf(what, sizeof what, "%s at %s:%d, the row of lane %d", lane.name,
                file == nullptr ? lane.site.file : file + 1, lane.site.line, number);
  const SharedPlace place = require_shared(lane.row, kRowBytes, what);
  if (place.rank != block_rank())
    fail("%s lies in block %d of the cluster; expected the block's own shared memory", what, place.rank);
  if (place.offset % kRowBytes != 0)
    fail("%s starts at byte %u of shared memory; expected a multiple of %d", what, place.offset, kRowBytes);
  return lane.row;
}

void count_traffic(void* const* left, bool is_write) {
  const Lane& first = lane_of(left, 0);
  const unsigned char* rows[32];
  for (int lane = 0; lane < kRows * first.count; ++lane) rows[lane] = lane_of(left, lane).row;
  traffic::access_rows(rows, kRows * first.count, is_write, first.from);
}

void load(void* const* left) {
  const Lane& first = lane_of(left, 0);
  count_traffic(left, false);
  for (int i = 0; i < first.count; ++i) {
    Matrix matrix;
    for (int j = 0; j < kRows; ++j) {
      const Lane& lane = lane_of(left, kRows * i + j);
      const unsigned char* row = checked_row(lane, kRows * i + j);
      race::read(lane.agent, row, kRowBytes, lane.site);
      std::memcpy(matrix.element[j], row, kRowBytes);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const unsigned low = element_of(matrix, lane, 0, first.is_transposed);
      const unsigned high = element_of(matrix, lane, 1, first.is_transposed);
      lane_of(left, lane).registers[i] = low | high << 16;
    }
  }
}

void store(void* const* left) {
  const Lane& first = lane_of(left, 0);
  count_traffic(left, true);
  for (int i = 0; i < first.count; ++i) {
    Matrix matrix;
    for (int lane = 0; lane < 32; ++lane) {
      const unsigned bits = lane_of(left, lane).registers[i];
      element_of(matrix, lane, 0, first.is_transposed) = static_cast<std::uint16_t>(bits);
      element_of(matrix, lane, 1, first.is_transposed) = static_cast<std::uint16_t>(bits >> 16);
    }
    for (int j = 0; j < kRows; ++j) {
      const Lane& lane = lane_of(left, kRows * i + j);
      unsigned char* row = checked_row(lane, kRows * i + j);
      race::write(lane.agent, row, kRowBytes, lane.site);
      std::memcpy(row, matrix.element[j], kRowBytes);
    }
  }
}

const char* name_of(bool is_load, int count, bool is_transposed) {
  static const char* const names[2][2][3] = {
      {{"store_matrix<1>", "store_matrix<2>", "store_matrix<4>"},
       {"store_matrix_transposed<1>", "store_matrix_transposed<2>", "store_matrix_transposed<4>"}},
      {{"load_matrix<1>", "load_matrix<2>", "load_matrix<4>"},
       {"load_matrix_transposed<1>", "load_matrix_transposed<2>", "load_matrix_transposed<4>"}},
  };
  return names[is_load][is_transposed][count / 2];
}

}  // namespace

void load_matrix(unsigned* registers, const void* row, int count, bool is_transposed, Site site) {
  Lane lane{registers,
            static_cast<unsigned char*>(const_cast<void*>(row)),
            count,
            is_transposed,
            name_of(true, count, is_transposed),
            race::self(),
            site,
            __builtin_return_address(0)};
  warp_collective(lane.name, 0xffffffffu, &lane, &load, site);
}

void store_matrix(void* row, const unsigned* registers, int count, bool is_transposed, Site site) {
  Lane lane{const_cast<unsigned*>(registers),
            static_cast<unsigned char*>(row),
            count,
            is_transposed,
            name_of(false, count, is_transposed),
            race::self(),
            site,
            __builtin_return_address(0)};
  warp_collective(lane.name, 0xffffffffu, &lane, &store, site);
}

}  // namespace atrous::sim
