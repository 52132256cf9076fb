// Kernels that misuse wgmma, one for every mistake that its model must name.
#include "atrous/prims/async_copy.cuh"
#include "atrous/probes/wgmma.cuh"
#include "sim/test_kernels.hpp"

namespace atrous {

namespace {

using prims::MatrixDescriptor;
using prims::MatrixSwizzle;

constexpr int kN = 32;
using Sums = float[kN / 2];

MatrixDescriptor tile_at(const unsigned char* start) {
  return prims::make_descriptor(start, 16, 1024, MatrixSwizzle::k128Bytes);
}

void issue(Sums& d, MatrixDescriptor a, MatrixDescriptor b) { prims::wgmma<kN, bfloat16>(d, a, b, true); }

void finish() {
  prims::wgmma_commit();
  prims::wgmma_wait<0>();
}

void store(const ProbeArguments& arguments, const Sums& d) {
  for (int i = 0; i < kN / 2; ++i) static_cast<float*>(arguments.y)[sum_index<kN>(i)] = d[i];
}

// Dynamic shared memory: 1024 bytes, then a: [64, 64] and b: [32, 64] bfloat16 in 128-byte swizzled rows.
struct Scene {
  const unsigned char* image;
  MatrixDescriptor a, b;
};

Scene prepare(const ProbeArguments& arguments) {
  const unsigned char* image = load_image(arguments);
  return {image, tile_at(image), tile_at(image + 8192)};
}

// ---- fences and waits

__global__ void test_wgmma_no_fence(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  issue(d, scene.a, scene.b);
  finish();
}

__global__ void test_wgmma_written_sums(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  finish();
  d[3] += 1;
  issue(d, scene.a, scene.b);
  finish();
}

__global__ void test_wgmma_written_in_flight(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  prims::wgmma_commit();
  d[3] = 1e6f;
  prims::wgmma_wait<0>();
}

__global__ void test_wgmma_written_between(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  d[3] = 1e6f;
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  finish();
}

// The sums are read, which leaves no trace, and then used again.
__global__ void test_wgmma_read_between(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  finish();
  store(arguments, d);
  issue(d, scene.a, scene.b);
  finish();
}

__global__ void test_wgmma_written_fragment(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  unsigned a[4] = {1, 2, 3, 4};
  prims::wgmma_fence();
  prims::wgmma<kN, bfloat16>(d, a, scene.b, true);
  prims::wgmma_commit();
  a[2] = 7;
  prims::wgmma_wait<0>();
}

__global__ void test_wgmma_unfenced_fragment(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  unsigned a[4] = {1, 2, 3, 4};
  prims::wgmma_fence();
  for (unsigned i = 0; i < 2; ++i) {
    a[2] += i;
    prims::wgmma<kN, bfloat16>(d, a, scene.b, true);
    finish();
  }
}

// y: [64, 32] sums of a in registers, 16 bytes of each row; size[0] != 0: second and third register exchanged.
__global__ void test_wgmma_fragment(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  const int row = static_cast<int>(threadIdx.x) / 32 * 16 + static_cast<int>(threadIdx.x) % 32 / 4;
  unsigned a[4];
  for (int i = 0; i < 4; ++i) {
    const int r = row + 8 * (i % 2), chunk = i / 2;
    const int to = arguments.size[0] != 0 && i % 3 != 0 ? 3 - i : i;
    memcpy(&a[to], scene.image + r * 128 + ((chunk ^ r % 8) * 16) + static_cast<int>(threadIdx.x) % 4 * 4, 4);
  }
  Sums d = {};
  prims::wgmma_fence();
  prims::wgmma<kN, bfloat16>(d, a, scene.b, true);
  finish();
  store(arguments, d);
}

// With `count` odd, not even committed.
__global__ void test_wgmma_no_wait(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  if (arguments.size[0] == 0) prims::wgmma_commit();
}

// y: [64, 32] sums read one wait too early, after the first of two groups.
__global__ void test_wgmma_early_read(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  prims::wgmma_commit();
  issue(d, scene.a, scene.b);
  prims::wgmma_commit();
  prims::wgmma_wait<1>();
  store(arguments, d);
  prims::wgmma_wait<0>();
}

// y: [64, 32] sums of operands that are overwritten by zeros before the wait.
__global__ void test_wgmma_overwritten(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, scene.b);
  prims::wgmma_commit();
  prims::sync_block();
  for (int i = static_cast<int>(threadIdx.x); i < 8192; i += 128) const_cast<unsigned char*>(scene.image)[i] = 0;
  prims::sync_block();
  prims::wgmma_wait<0>();
  store(arguments, d);
}

// ---- who takes part

// Warps with threads below size[0] issue; those below size[1] on b, the others on a as both operands.
__global__ void test_wgmma_warps(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  const int me = static_cast<int>(threadIdx.x);
  Sums d = {};
  if (me >= arguments.size[0]) return;
  prims::wgmma_fence();
  issue(d, scene.a, me < arguments.size[1] ? scene.b : scene.a);
  finish();
}

__global__ void test_wgmma_shapes(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  float wide[32] = {};
  prims::wgmma_fence();
  if (threadIdx.x < 64)
    prims::wgmma<64, bfloat16>(wide, scene.a, scene.a, true);
  else
    issue(d, scene.a, scene.b);
  finish();
}

__global__ void test_wgmma_lanes(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  Sums d = {};
  prims::wgmma_fence();
  issue(d, scene.a, threadIdx.x % 32 == 5 ? scene.a : scene.b);
  finish();
}

// ---- descriptors

// make_descriptor of size[0] bytes past the image, with distances size[1] and size[2] and swizzle size[3], advanced by
// size[4], base offset size[5]; then one wgmma with it as b.
__global__ void test_wgmma_descriptor(const __grid_constant__ ProbeArguments arguments) {
  const Scene scene = prepare(arguments);
  const int* size = arguments.size;
  Sums d = {};
  MatrixDescriptor b =
      prims::make_descriptor(scene.image + size[0], size[1], size[2], static_cast<MatrixSwizzle>(size[3]));
  b = prims::advance(b, size[4]);
  b.bits |= static_cast<unsigned long long>(size[5]) << 49;
  prims::wgmma_fence();
  issue(d, scene.a, b);
  finish();
}

__global__ void test_wgmma_global_tile(const __grid_constant__ ProbeArguments arguments) {
  prims::make_descriptor(arguments.x, 16, 1024, MatrixSwizzle::kNone);
}

// y: [2] uint64: the bits of a descriptor from size as above, less those of the start of the image.
__global__ void test_wgmma_bits(const __grid_constant__ ProbeArguments arguments) {
  unsigned char* image = aligned_shared();
  const int* size = arguments.size;
  const auto swizzle = static_cast<MatrixSwizzle>(size[3]);
  const MatrixDescriptor tile = prims::make_descriptor(image + size[0], size[1], size[2], swizzle);
  const MatrixDescriptor origin = prims::make_descriptor(image, 0, 0, MatrixSwizzle::kNone);
  if (threadIdx.x != 0) return;
  static_cast<unsigned long long*>(arguments.y)[0] = tile.bits - origin.bits;
  static_cast<unsigned long long*>(arguments.y)[1] = prims::advance(tile, size[4]).bits - origin.bits;
}

// A wgmma that reads what the threads have just written, without a fence of the proxies.
__global__ void test_wgmma_no_proxy_fence(const __grid_constant__ ProbeArguments arguments) {
  unsigned char* image = aligned_shared();
  for (int i = static_cast<int>(threadIdx.x); i < 12288; i += 128) image[i] = 0;
  prims::sync_block();
  Sums d = {};
  prims::wgmma_fence();
  issue(d, tile_at(image), tile_at(image + 8192));
  finish();
  store(arguments, d);
}

// The same with what cp.async, of the generic proxy too, has written. x: [12288] bytes.
template <bool kFenced>
__global__ void test_wgmma_copied(const __grid_constant__ ProbeArguments arguments) {
  unsigned char* image = aligned_shared();
  for (int i = 16 * static_cast<int>(threadIdx.x); i < 12288; i += 16 * 128)
    prims::copy_async<16>(image + i, static_cast<const unsigned char*>(arguments.x) + i);
  prims::commit_copies();
  prims::wait_copies<0>();
  if (kFenced) prims::fence_async_proxy();
  prims::sync_block();
  Sums d = {};
  prims::wgmma_fence();
  issue(d, tile_at(image), tile_at(image + 8192));
  finish();
  store(arguments, d);
}

}  // namespace

void add_test_kernels_wgmma(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_wgmma_no_fence),
      ATROUS_KERNEL(test_wgmma_written_sums),
      ATROUS_KERNEL(test_wgmma_written_in_flight),
      ATROUS_KERNEL(test_wgmma_written_between),
      ATROUS_KERNEL(test_wgmma_read_between),
      ATROUS_KERNEL(test_wgmma_written_fragment),
      ATROUS_KERNEL(test_wgmma_fragment),
      ATROUS_KERNEL(test_wgmma_unfenced_fragment),
      ATROUS_KERNEL(test_wgmma_no_wait),
      ATROUS_KERNEL(test_wgmma_early_read),
      ATROUS_KERNEL(test_wgmma_overwritten),
      ATROUS_KERNEL(test_wgmma_warps),
      ATROUS_KERNEL(test_wgmma_shapes),
      ATROUS_KERNEL(test_wgmma_lanes),
      ATROUS_KERNEL(test_wgmma_descriptor),
      ATROUS_KERNEL(test_wgmma_global_tile),
      ATROUS_KERNEL(test_wgmma_bits),
      ATROUS_KERNEL(test_wgmma_no_proxy_fence),
      ATROUS_KERNEL(test_wgmma_copied<false>),
      ATROUS_KERNEL(test_wgmma_copied<true>),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
