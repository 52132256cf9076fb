// Kernels that test the simulator itself: correct ones, and one for every mistake that it must name.
#include "test_kernels.hpp"

#include "atrous/prims/block.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/vec.cuh"

namespace atrous {

namespace {

struct TestArguments {
  const void* x;
  void* y;
  int64 count;
  int x_type;  // DataType
  int y_type;
};

struct Numbers {
  int value[256];
};

struct Rows {
  double value[40][128];  // 40 KiB
};

__device__ __forceinline__ int thread_number() {
  return static_cast<int>((threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x);
}

__device__ __forceinline__ int64 block_number() {
  return (static_cast<int64>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
}

// y: [count] of y_type = x: [count] of x_type, by way of Real
template <class Real>
__global__ void test_cast(const __grid_constant__ TestArguments a) {
  const int64 i = block_number() * blockDim.x + thread_number();
  if (i >= a.count) return;
  store_real<Real>(a.y, static_cast<DataType>(a.y_type), i, load_real<Real>(a.x, static_cast<DataType>(a.x_type), i));
}

// y: [blocks, threads, 6] int32 = blockIdx, threadIdx
__global__ void test_indices(const __grid_constant__ TestArguments a) {
  const int64 threads = static_cast<int64>(blockDim.x) * blockDim.y * blockDim.z;
  int* y = static_cast<int*>(a.y) + (block_number() * threads + thread_number()) * 6;
  const unsigned values[6] = {blockIdx.x, blockIdx.y, blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z};
  for (int i = 0; i < 6; ++i) y[i] = static_cast<int>(values[i]);
}

// y: [threads] int32; each of `count` rounds adds the left neighbour's value: binomial sums, correctly synchronised
__global__ void test_rounds(const __grid_constant__ TestArguments a) {
  int* value = prims::shared<Numbers>().value;
  const int me = thread_number();
  value[me] = 1;
  for (int64 i = 0; i < a.count; ++i) {
    prims::sync_block();
    const int left = me == 0 ? 0 : value[me - 1];
    prims::sync_block();
    value[me] += left;
  }
  static_cast<int*>(a.y)[me] = value[me];
}

// The same with the second barrier forgotten.
__global__ void test_forgotten_barrier(const __grid_constant__ TestArguments a) {
  int* value = prims::shared<Numbers>().value;
  const int me = thread_number();
  value[me] = 1;
  for (int64 i = 0; i < a.count; ++i) {
    prims::sync_block();
    value[me] += me == 0 ? 0 : value[me - 1];
  }
  static_cast<int*>(a.y)[me] = value[me];
}

// y: [1] int32: the block that wrote last
__global__ void test_last_block(const __grid_constant__ TestArguments a) {
  if (threadIdx.x == 0) static_cast<int*>(a.y)[0] = static_cast<int>(blockIdx.x);
}

// x: [threads] int64; y: [5, threads] int64
__global__ void test_shuffles(const __grid_constant__ TestArguments a) {
  const int me = thread_number();
  const int threads = static_cast<int>(blockDim.x);
  const int64 value = static_cast<const int64*>(a.x)[me];
  int64* y = static_cast<int64*>(a.y);
  y[me] = prims::shuffle_xor(value, 5);
  y[threads + me] = prims::shuffle_down(value, 3);
  y[2 * threads + me] = prims::shuffle_from(value, 37);
  y[3 * threads + me] = prims::ballot(value % 3 == 0);
  prims::sync_warp();
  y[4 * threads + me] = static_cast<int64>(prims::shuffle_xor(static_cast<float32>(value), 16));
}

// y: [2] uint32: what static and dynamic shared memory hold before anything is written
__global__ void test_unwritten_shared(const __grid_constant__ TestArguments a) {
  unsigned* y = static_cast<unsigned*>(a.y);
  y[0] = static_cast<unsigned>(prims::shared<Numbers>().value[7]);
  y[1] = *reinterpret_cast<unsigned*>(prims::dynamic_shared());
  prims::shared<Numbers>().value[7] = 0;
  *reinterpret_cast<unsigned*>(prims::dynamic_shared()) = 0;
}

// Writes one byte at `count` of dynamic shared memory, or with y_type 1 of a static object.
__global__ void test_write_shared(const __grid_constant__ TestArguments a) {
  unsigned char* start = prims::dynamic_shared();
  if (a.y_type == 1) start = reinterpret_cast<unsigned char*>(&prims::shared<Numbers>());
  start[a.count] = 0;
}

__global__ void test_big_static_shared(const __grid_constant__ TestArguments) { prims::shared<Rows>().value[0][0] = 0; }

__global__ void test_exited_threads(const __grid_constant__ TestArguments) {
  if (threadIdx.x >= 40) return;
  prims::sync_block();
}

__global__ void test_divergent_barrier(const __grid_constant__ TestArguments) {
  if (threadIdx.x < 16) {
    prims::sync_block();
  } else {
    prims::sync_block();
  }
}

__global__ void test_exited_lane(const __grid_constant__ TestArguments) {
  if (threadIdx.x == 3 || threadIdx.x >= 30) return;
  prims::shuffle_xor(1, 1);
}

// Two collectives at one line, and one collective at two lines.
__global__ void test_mismatched_collectives(const __grid_constant__ TestArguments) {
  threadIdx.x % 2 == 0 ? static_cast<void>(prims::ballot(true)) : prims::sync_warp();
}

__global__ void test_divergent_collectives(const __grid_constant__ TestArguments) {
  if (threadIdx.x % 2 == 0) {
    prims::sync_warp();
  } else {
    prims::sync_warp();
  }
}

__global__ void test_barrier_against_warp(const __grid_constant__ TestArguments) {
  if (threadIdx.x < 8) {
    prims::sync_block();
  } else {
    prims::sync_warp();
  }
}

// Writes densely below its stack and exits; or with y_type 1 here and there, and waits at a barrier.
__global__ void test_stack_overflow(const __grid_constant__ TestArguments a) {
  volatile unsigned char local[160 * 1024];
  const unsigned step = a.y_type == 1 ? 8000 : 32;
  for (unsigned i = 0; i < sizeof local; i += step) local[i] = static_cast<unsigned char>(a.count);
  if (a.y_type == 1) prims::sync_block();
  local[0] = local[step];
}

// Loads a vector of 4 float32 from element `count` of x.
__global__ void test_vector_load(const __grid_constant__ TestArguments a) {
  const auto vec = load_vec<4>(static_cast<const float32*>(a.x) + a.count);
  store_vec(static_cast<float32*>(a.y), vec);
}

}  // namespace

void add_test_kernels(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_cast<float32>),
      ATROUS_KERNEL(test_cast<float64>),
      ATROUS_KERNEL(test_indices),
      ATROUS_KERNEL(test_rounds),
      ATROUS_KERNEL(test_forgotten_barrier),
      ATROUS_KERNEL(test_last_block),
      ATROUS_KERNEL(test_shuffles),
      ATROUS_KERNEL(test_unwritten_shared),
      ATROUS_KERNEL(test_write_shared),
      ATROUS_KERNEL(test_big_static_shared),
      ATROUS_KERNEL(test_exited_threads),
      ATROUS_KERNEL(test_divergent_barrier),
      ATROUS_KERNEL(test_exited_lane),
      ATROUS_KERNEL(test_mismatched_collectives),
      ATROUS_KERNEL(test_divergent_collectives),
      ATROUS_KERNEL(test_barrier_against_warp),
      ATROUS_KERNEL(test_stack_overflow),
      ATROUS_KERNEL(test_vector_load),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
