// Moves 8x8 matrices of 16-bit elements between shared memory and a warp's registers: ldmatrix, stmatrix.
#pragma once

#include "atrous/prims/address.cuh"

#ifdef ATROUS_SIMULATED
#include "atrous_sim/matrix.hpp"
#endif

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

template <int kCount>
inline void load_matrix(unsigned (&r)[kCount], const void* row, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  sim::load_matrix(r, row, kCount, false, {file, line});
}

template <int kCount>
inline void load_matrix_transposed(unsigned (&r)[kCount], const void* row, const char* file = __builtin_FILE(),
                                   int line = __builtin_LINE()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  sim::load_matrix(r, row, kCount, true, {file, line});
}

template <int kCount>
inline void store_matrix(void* row, const unsigned (&r)[kCount], const char* file = __builtin_FILE(),
                         int line = __builtin_LINE()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
  sim::store_matrix(row, r, kCount, false, {file, line});
}

template <int kCount>
inline void store_matrix_transposed(void* row, const unsigned (&r)[kCount], const char* file = __builtin_FILE(),
                                    int line = __builtin_LINE()) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
  sim::store_matrix(row, r, kCount, true, {file, line});
}

#else

// Every lane of the warp takes part. `row`: 16 bytes of shared memory that start on a multiple of 16; lanes 8i to
// 8i + 7 give the rows 0 to 7 of matrix i, and what the lanes from 8 kCount on give does not count. Register i of lane
// l holds the elements (l / 4, 2 (l % 4)) of matrix i in its low half and (l / 4, 2 (l % 4) + 1) in its high half.
template <int kCount>
__device__ __forceinline__ void load_matrix(unsigned (&r)[kCount], const void* row) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  const unsigned address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

// The same of the transposed matrices: (2 (l % 4), l / 4) in the low half and (2 (l % 4) + 1, l / 4) in the high half.
template <int kCount>
__device__ __forceinline__ void load_matrix_transposed(unsigned (&r)[kCount], const void* row) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "ldmatrix loads 1, 2 or 4 matrices");
  const unsigned address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  } else {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  }
}

// The way back, from sm_90 on: rows and registers as in load_matrix.
template <int kCount>
__device__ __forceinline__ void store_matrix(void* row, const unsigned (&r)[kCount]) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
  const unsigned address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};" ::"r"(address), "r"(r[0]) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(r[0]), "r"(r[1])
                 : "memory");
  } else {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r[0]),
                 "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
  }
}

// Rows and registers as in load_matrix_transposed.
template <int kCount>
__device__ __forceinline__ void store_matrix_transposed(void* row, const unsigned (&r)[kCount]) {
  static_assert(kCount == 1 || kCount == 2 || kCount == 4, "stmatrix stores 1, 2 or 4 matrices");
  const unsigned address = shared_address(row);
  if constexpr (kCount == 1) {
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};" ::"r"(address), "r"(r[0]) : "memory");
  } else if constexpr (kCount == 2) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(r[0]), "r"(r[1])
                 : "memory");
  } else {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r[0]),
                 "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
  }
}

#endif

}  // namespace atrous::prims
