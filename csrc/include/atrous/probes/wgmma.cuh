// Probes of wgmma: every shape, element type, swizzle and major, from shared memory and from registers.
#pragma once

#include "atrous/prims/block.cuh"
#include "atrous/prims/tensor_copy.cuh"
#include "atrous/prims/wgmma.cuh"
#include "atrous/probes/probe.hpp"

namespace atrous {

// How one operand lies, in bytes: its pattern starts at `tile` of the image, the first wgmma `shift` past that, and
// each next one `step` further.
struct ProbeOperand {
  int tile;
  int leading;
  int stride;
  int swizzle;
  int shift;
  int step;
};

// w begins with this; the sums to start from follow.
struct ProbeWgmma {
  ProbeOperand a;
  ProbeOperand b;
  int steps;
  int accumulate;  // whether the first wgmma adds to the sums of w
  int unused[2];
};

// The start of dynamic shared memory, moved up to a multiple of 1024 bytes.
__device__ __forceinline__ unsigned char* aligned_shared() {
  unsigned char* start = prims::dynamic_shared();
  return start + (1024 - reinterpret_cast<unsigned long long>(start) % 1024) % 1024;
}

// Fills the image in shared memory with x: [count] bytes, for wgmma to read.
__device__ __forceinline__ unsigned char* load_image(const ProbeArguments& a) {
  unsigned char* image = aligned_shared();
  for (int64 i = threadIdx.x; i < a.count; i += blockDim.x) image[i] = static_cast<const unsigned char*>(a.x)[i];
  prims::fence_async_proxy();
  prims::sync_block();
  return image;
}

__device__ __forceinline__ prims::MatrixDescriptor describe(const unsigned char* image, const ProbeOperand& operand) {
  const auto swizzle = static_cast<prims::MatrixSwizzle>(operand.swizzle);
  return prims::advance(prims::make_descriptor(image + operand.tile, operand.leading, operand.stride, swizzle),
                        operand.shift);
}

// [64, N] row-major from the thread's d[i]: its row of the warp's 16 and its column.
template <int kN>
__device__ __forceinline__ int sum_index(int i) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  return (thread / 32 * 16 + lane / 4 + 8 * (i / 2 % 2)) * kN + i / 4 * 8 + lane % 4 * 2 + i % 2;
}

// x: [count] bytes of shared memory; w: ProbeWgmma, then [64, N] Sum; y: [64, N] Sum. 128 threads.
template <int kN, class Type, prims::Major kMajorA, prims::Major kMajorB>
__global__ void __launch_bounds__(128) probe_wgmma(const __grid_constant__ ProbeArguments arguments) {
  using Sum = prims::WgmmaSum<Type>;
  const ProbeWgmma& how = *static_cast<const ProbeWgmma*>(arguments.w);
  const Sum* start = reinterpret_cast<const Sum*>(&how + 1);
  const unsigned char* image = load_image(arguments);
  Sum d[kN / 2];
  for (int i = 0; i < kN / 2; ++i) d[i] = start[sum_index<kN>(i)];
  const prims::MatrixDescriptor a = describe(image, how.a), b = describe(image, how.b);
  prims::pin_registers(d);
  prims::wgmma_fence();
  for (int step = 0; step < how.steps; ++step)
    prims::wgmma<kN, Type, kMajorA, kMajorB>(d, prims::advance(a, step * how.a.step),
                                             prims::advance(b, step * how.b.step), how.accumulate != 0 || step > 0);
  prims::wgmma_commit();
  prims::wgmma_wait<0>();
  prims::pin_registers(d);
  for (int i = 0; i < kN / 2; ++i) static_cast<Sum*>(arguments.y)[sum_index<kN>(i)] = d[i];
}

// The same with a in registers: its [64, 32] bytes are the first of the image. One wgmma.
template <int kN, class Type, prims::Major kMajorB>
__global__ void __launch_bounds__(128) probe_wgmma_registers(const __grid_constant__ ProbeArguments arguments) {
  using Sum = prims::WgmmaSum<Type>;
  const ProbeWgmma& how = *static_cast<const ProbeWgmma*>(arguments.w);
  const Sum* start = reinterpret_cast<const Sum*>(&how + 1);
  const unsigned char* image = load_image(arguments);
  Sum d[kN / 2];
  for (int i = 0; i < kN / 2; ++i) d[i] = start[sum_index<kN>(i)];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  unsigned a[4];
  for (int i = 0; i < 4; ++i) {
    const int row = thread / 32 * 16 + lane / 4 + 8 * (i % 2);
    a[i] = *reinterpret_cast<const unsigned*>(image + row * 32 + i / 2 * 16 + lane % 4 * 4);
  }
  prims::pin_registers(a);
  prims::pin_registers(d);
  prims::wgmma_fence();
  prims::wgmma<kN, Type, kMajorB>(d, a, describe(image, how.b), how.accumulate != 0);
  prims::wgmma_commit();
  prims::wgmma_wait<0>();
  prims::pin_registers(d);
  for (int i = 0; i < kN / 2; ++i) static_cast<Sum*>(arguments.y)[sum_index<kN>(i)] = d[i];
}

}  // namespace atrous
