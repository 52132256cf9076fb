// Loads of convolution patches: the copy engine walks output pixels and gathers their channels for one filter tap.
#pragma once

#include "atrous/prims/tensor_copy_groups.cuh"

namespace atrous::prims {

// load_im2col(destination, map, barrier, c, w[, h[, d]], n, offset_w[, offset_h[, offset_d]]): a row of the map's
// channels_per_pixel channels for each of its pixels_per_column pixels. The walk starts at the pixel (w, h, d, n),
// steps by the element strides along w, then h, then d inside the bounding box, then to the next image; every pixel is
// read at its offset from there. Zero outside the tensor and past the last image.

#ifdef ATROUS_SIMULATED

inline void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int n, int offset_w,
                        const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, n};
  const int offsets[] = {offset_w};
  sim::load_im2col(destination, map, barrier, coordinates, 3, offsets, sim::kNoMulticast, {file, line});
}

inline void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int h, int n,
                        int offset_w, int offset_h, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, h, n};
  const int offsets[] = {offset_w, offset_h};
  sim::load_im2col(destination, map, barrier, coordinates, 4, offsets, sim::kNoMulticast, {file, line});
}

inline void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int h, int d, int n,
                        int offset_w, int offset_h, int offset_d, const char* file = __builtin_FILE(),
                        int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, h, d, n};
  const int offsets[] = {offset_w, offset_h, offset_d};
  sim::load_im2col(destination, map, barrier, coordinates, 5, offsets, sim::kNoMulticast, {file, line});
}

inline void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int n,
                                  int offset_w, unsigned short mask, const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, n};
  const int offsets[] = {offset_w};
  sim::load_im2col(destination, map, barrier, coordinates, 3, offsets, mask, {file, line});
}

inline void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int h, int n,
                                  int offset_w, int offset_h, unsigned short mask, const char* file = __builtin_FILE(),
                                  int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, h, n};
  const int offsets[] = {offset_w, offset_h};
  sim::load_im2col(destination, map, barrier, coordinates, 4, offsets, mask, {file, line});
}

inline void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c, int w, int h, int d,
                                  int n, int offset_w, int offset_h, int offset_d, unsigned short mask,
                                  const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  const int coordinates[] = {c, w, h, d, n};
  const int offsets[] = {offset_w, offset_h, offset_d};
  sim::load_im2col(destination, map, barrier, coordinates, 5, offsets, mask, {file, line});
}

#else

__device__ __forceinline__ void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w,
                                            int n, int offset_w) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2], {%6};"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(n),
        "h"(static_cast<unsigned short>(offset_w))
      : "memory");
}

__device__ __forceinline__ void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w,
                                            int h, int n, int offset_w, int offset_h) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, "
      "%6}], [%2], {%7, %8};"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(h), "r"(n),
        "h"(static_cast<unsigned short>(offset_w)), "h"(static_cast<unsigned short>(offset_h))
      : "memory");
}

__device__ __forceinline__ void load_im2col(void* destination, const TensorMap* map, Barrier* barrier, int c, int w,
                                            int h, int d, int n, int offset_w, int offset_h, int offset_d) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2], {%8, %9, %10};"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "r"(c), "r"(w), "r"(h), "r"(d),
        "r"(n), "h"(static_cast<unsigned short>(offset_w)), "h"(static_cast<unsigned short>(offset_h)),
        "h"(static_cast<unsigned short>(offset_d))
      : "memory");
}

__device__ __forceinline__ void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c,
                                                      int w, int n, int offset_w, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%4, %5, %6}], [%2], {%7}, %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c), "r"(w), "r"(n),
        "h"(static_cast<unsigned short>(offset_w))
      : "memory");
}

__device__ __forceinline__ void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c,
                                                      int w, int h, int n, int offset_w, int offset_h,
                                                      unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%4, %5, %6, %7}], [%2], {%8, %9}, %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c), "r"(w), "r"(h),
        "r"(n), "h"(static_cast<unsigned short>(offset_w)), "h"(static_cast<unsigned short>(offset_h))
      : "memory");
}

__device__ __forceinline__ void load_im2col_multicast(void* destination, const TensorMap* map, Barrier* barrier, int c,
                                                      int w, int h, int d, int n, int offset_w, int offset_h,
                                                      int offset_d, unsigned short mask) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes.multicast::cluster [%0], "
      "[%1, {%4, %5, %6, %7, %8}], [%2], {%9, %10, %11}, %3;"
      :
      : "r"(shared_address(destination)), "l"(map), "r"(shared_address(barrier)), "h"(mask), "r"(c), "r"(w), "r"(h),
        "r"(d), "r"(n), "h"(static_cast<unsigned short>(offset_w)), "h"(static_cast<unsigned short>(offset_h)),
        "h"(static_cast<unsigned short>(offset_d))
      : "memory");
}

#endif

}  // namespace atrous::prims
