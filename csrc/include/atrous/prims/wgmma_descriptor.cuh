// How an operand of wgmma lies in shared memory: the 64 bits of its matrix descriptor.
#pragma once

#include "atrous/prims/address.cuh"

#ifdef ATROUS_SIMULATED
#include "atrous_sim/wgmma.hpp"
#endif

namespace atrous::prims {

// Which dimension of an operand is contiguous: K, or the M or N of the product. 16-bit elements may have either, all
// others need K.
enum class Major : int { kK = 0, kMn = 1 };

// The XOR that hardware applies to the address of each 16 bytes, so to shared addresses themselves: the index of the
// 16-byte chunk in a row of 128, 64 or 32 bytes is XORed with the index of the 128-byte line, modulo 8, 4 or 2. Its
// pattern repeats every 1024, 512 or 256 bytes. The values are those of the descriptor, not those of a tensor map.
enum class MatrixSwizzle : int { kNone = 0, k128Bytes = 1, k64Bytes = 2, k32Bytes = 3 };

// Bits 0-13: start address >> 4; 16-29: leading bytes >> 4; 32-45: stride bytes >> 4; 49-51: base offset, 0 as long as
// the pattern starts at a multiple of its length; 62-63: swizzle (PTX ISA, "Matrix Descriptor Format").
struct MatrixDescriptor {
  unsigned long long bits;
};

// One operand is rows (M or N of them) of K = 32 bytes. Blocks of 8 rows by 16 bytes lie, in bytes from the start and
// before the swizzle, w being the 16-byte chunks in a row of the swizzle (PTX ISA, "Strides"; CUTLASS,
// mma_traits_sm90_gmma.hpp, gives the same as layouts):
//   K-major, no swizzle: row r, chunk c of K at   16 (r % 8) + stride (r / 8) + leading c
//   K-major, swizzled:                            16 w (r % 8) + stride (r / 8) + 16 c            (leading not used)
//   MN-major, no swizzle: chunk j of 8 rows, k at 16 (k % 8) + leading (k / 8) + stride j
//   MN-major, swizzled:                           16 (j % w) + leading (j / w) + 16 w (k % 8) + stride (k / 8)
// `tile`: shared memory, at a multiple of 1024, 512 or 256 bytes, or 16 without a swizzle. Bytes: multiples of 16 below
// 2^18.
#ifdef ATROUS_SIMULATED

inline MatrixDescriptor make_descriptor(const void* tile, int leading_bytes, int stride_bytes, MatrixSwizzle swizzle,
                                        const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  return {sim::make_matrix_descriptor(tile, leading_bytes, stride_bytes, static_cast<int>(swizzle), {file, line})};
}

inline MatrixDescriptor advance(MatrixDescriptor descriptor, int bytes, const char* file = __builtin_FILE(),
                                int line = __builtin_LINE()) {
  return {sim::advance_matrix_descriptor(descriptor.bits, bytes, {file, line})};
}

#else

__device__ __forceinline__ MatrixDescriptor make_descriptor(const void* tile, int leading_bytes, int stride_bytes,
                                                            MatrixSwizzle swizzle) {
  const unsigned low = (shared_address(tile) & 0x3ffffu) >> 4 | static_cast<unsigned>(leading_bytes >> 4) << 16;
  const unsigned high = static_cast<unsigned>(stride_bytes >> 4) | static_cast<unsigned>(swizzle) << 30;
  return {static_cast<unsigned long long>(high) << 32 | low};
}

// The operand that starts `bytes` (a multiple of 16, negative too) further on in the same pattern: K advances by 32
// bytes within a swizzled row, and a tile may start at any of its rows of 128, 64 or 32 bytes, since the swizzle goes
// by addresses.
__device__ __forceinline__ MatrixDescriptor advance(MatrixDescriptor descriptor, int bytes) {
  return {descriptor.bits + static_cast<long long>(bytes >> 4)};
}

#endif

}  // namespace atrous::prims
