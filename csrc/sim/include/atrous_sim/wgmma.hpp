// The model of wgmma: products of a warpgroup, matrix descriptors, groups and waits.
#pragma once

#include <cstdint>

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

enum class MatrixElement : unsigned char { kFloat16, kBfloat16, kTfloat32, kFloat8E4m3, kFloat8E5m2, kInt8, kUint8 };

struct WgmmaShape {
  int columns;  // N
  MatrixElement element;
  bool is_a_across;  // MN-major
  bool is_b_across;
};

// d: [N / 2] float or int; a_registers: [4], or null when a_descriptor counts
void wgmma(const WgmmaShape& shape, void* d, std::uint64_t a_descriptor, const unsigned* a_registers,
           std::uint64_t b_descriptor, bool accumulate, Site site);

void wgmma_fence(Site site);
void wgmma_commit(Site site);
void wgmma_wait(int pending, Site site);

std::uint64_t make_matrix_descriptor(const void* tile, int leading_bytes, int stride_bytes, int swizzle, Site site);
std::uint64_t advance_matrix_descriptor(std::uint64_t descriptor, int bytes, Site site);

}  // namespace atrous::sim
