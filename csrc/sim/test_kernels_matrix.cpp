// Kernels that misuse ldmatrix, stmatrix and mma.
#include "atrous/prims/warp.cuh"
#include "atrous/probes/matrix.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

// The row that a lane names: its own, but that of lane size[0] lies size[1] bytes further, or with size[2] in y.
__device__ __forceinline__ uint8* test_row(const ProbeArguments& a) {
  ProbeRows& rows = prims::shared<ProbeRows>();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint8* row = rows.byte[lane];
  memset(row, 0, sizeof rows.byte[lane]);
  prims::sync_warp();
  if (lane != a.size[0]) return row;
  return a.size[2] != 0 ? static_cast<uint8*>(a.y) : row + a.size[1];
}

template <int kCount>
__global__ void test_load_row(const __grid_constant__ ProbeArguments a) {
  unsigned r[kCount];
  prims::load_matrix(r, test_row(a));
}

template <int kCount>
__global__ void test_store_row(const __grid_constant__ ProbeArguments a) {
  const unsigned r[kCount] = {};
  prims::store_matrix_transposed(test_row(a), r);
}

// Lanes from size[0] on have left.
__global__ void test_absent_lanes_of_mma(const __grid_constant__ ProbeArguments a) {
  if (static_cast<int>(threadIdx.x) >= a.size[0]) return;
  const unsigned a_bits[4] = {}, b_bits[2] = {};
  float d[4] = {};
  prims::mma_m16n8k16_f16(d, a_bits, b_bits);
}

// Half of the warp loads with another qualifier.
__global__ void test_mixed_load_matrix(const __grid_constant__ ProbeArguments a) {
  unsigned r[4];
  if (threadIdx.x < 16) {
    prims::load_matrix(r, test_row(a));
  } else {
    prims::load_matrix_transposed(r, test_row(a));
  }
}

}  // namespace

void add_test_kernels_matrix(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_load_row<1>),         ATROUS_KERNEL(test_load_row<2>),       ATROUS_KERNEL(test_load_row<4>),
      ATROUS_KERNEL(test_store_row<1>),        ATROUS_KERNEL(test_store_row<2>),      ATROUS_KERNEL(test_store_row<4>),
      ATROUS_KERNEL(test_absent_lanes_of_mma), ATROUS_KERNEL(test_mixed_load_matrix),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
