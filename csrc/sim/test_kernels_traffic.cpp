// Kernels that test the counting of traffic: each moves what can be counted by hand.
#include "atrous/prims/async_copy.cuh"
#include "atrous/prims/block.cuh"
#include "atrous/prims/matrix.cuh"
#include "atrous/prims/mbarrier.cuh"
#include "atrous/prims/tensor_copy_groups.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/vec.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

struct TrafficArguments {
  const int* x;
  int* y;  // [blocks * threads]
  int stride;
  int shift;
  int count;
  int variant;
};

constexpr int kTrafficWords = 1056;  // 33 for each lane: room for a stride of 33 words

struct alignas(128) TrafficWords {
  int word[kTrafficWords];
};

struct TrafficTile {
  TrafficWords words;
  prims::Barrier barrier;
};

__device__ __forceinline__ int& traffic_result(const TrafficArguments& a) {
  return a.y[blockIdx.x * blockDim.x + threadIdx.x];
}

// Every word, by 33 stores of a warp without conflicts.
__device__ __forceinline__ int* traffic_words() {
  int* word = prims::shared<TrafficWords>().word;
  for (int i = static_cast<int>(threadIdx.x); i < kTrafficWords; i += 32) word[i] = i;
  prims::sync_warp();
  return word;
}

// One load of a word and one store of a word by every thread.
__global__ void traffic_global(const __grid_constant__ TrafficArguments a) {
  traffic_result(a) = a.x[static_cast<int>(threadIdx.x) * a.stride + a.shift];
}

// The same with loads of kWords words at once.
template <int kWords>
__global__ void traffic_wide(const __grid_constant__ TrafficArguments a) {
  const Vec<int, kWords> vec = load_vec<kWords>(a.x + static_cast<int>(threadIdx.x) * a.stride);
  int sum = 0;
  for (int i = 0; i < kWords; ++i) sum += vec.value[i] << i;
  traffic_result(a) = sum;
}

// Even and odd lanes load in different branches.
__global__ void traffic_divergent(const __grid_constant__ TrafficArguments a) {
  const int me = static_cast<int>(threadIdx.x);
  if (me % 2 == 0)
    traffic_result(a) = a.x[me];
  else
    a.y[32 + me] = a.x[me + 64];
}

// In iteration i the last 8 (i + 1) lanes load, and then all meet: at the warp's barrier or (variant 1) the block's.
__global__ void traffic_late(const __grid_constant__ TrafficArguments a) {
  const int me = static_cast<int>(threadIdx.x);
  int sum = 0;
  for (int i = 0; i < a.count; ++i) {
    if (me >= 8 * (3 - i)) sum += a.x[i * a.stride + me];
    if (a.variant == 1)
      prims::sync_block();
    else
      prims::sync_warp();
  }
  traffic_result(a) = sum;
}

// Behind 33 stores, one load of kWords words of shared memory by every lane.
template <int kWords>
__global__ void traffic_shared(const __grid_constant__ TrafficArguments a) {
  const int* word = traffic_words();
  const Vec<int, kWords> vec = load_vec<kWords>(word + static_cast<int>(threadIdx.x) * a.stride);
  int sum = 0;
  for (int i = 0; i < kWords; ++i) sum += vec.value[i] << i;
  traffic_result(a) = sum;
}

// Behind 33 stores, one load of a byte of shared memory by every lane.
__global__ void traffic_bytes(const __grid_constant__ TrafficArguments a) {
  const auto* byte = reinterpret_cast<const unsigned char*>(traffic_words());
  traffic_result(a) = byte[static_cast<int>(threadIdx.x) * a.stride];
}

// A copy of 16 bytes by each lane, of which those from `count` on copy zeros alone; then a load of a word.
__global__ void traffic_copy(const __grid_constant__ TrafficArguments a) {
  int* word = prims::shared<TrafficWords>().word;
  const int me = static_cast<int>(threadIdx.x);
  prims::copy_async<16>(word + me * a.stride, a.x + 4 * me, me < a.count ? 16 : 0);
  prims::commit_copies();
  prims::wait_copies<0>();
  traffic_result(a) = word[me * a.stride];
}

// Behind 33 stores, one ldmatrix (variant 1: stmatrix) of kCount matrices whose rows lie `stride` words apart.
template <int kCount>
__global__ void traffic_matrix(const __grid_constant__ TrafficArguments a) {
  int* word = traffic_words();
  int* row = word + static_cast<int>(threadIdx.x) * a.stride;
  unsigned r[kCount] = {};
  if (a.variant == 1)
    prims::store_matrix(row, r);
  else
    prims::load_matrix(r, row);
  traffic_result(a) = static_cast<int>(r[0]);
}

// One bulk copy of `count` bytes by the first thread.
__global__ void traffic_bulk(const __grid_constant__ TrafficArguments a) {
  TrafficTile& tile = prims::shared<TrafficTile>();
  if (threadIdx.x == 0) {
    prims::init_barrier(&tile.barrier, 1);
    prims::fence_barrier_init();
  }
  prims::sync_block();
  if (threadIdx.x == 0) {
    prims::arrive_expect(&tile.barrier, a.count);
    prims::copy_bulk(tile.words.word, a.x, static_cast<unsigned>(a.count), &tile.barrier);
  }
  prims::wait(&tile.barrier, 0);
  traffic_result(a) = tile.words.word[threadIdx.x];
}

}  // namespace

void add_test_kernels_traffic(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(traffic_global),    ATROUS_KERNEL(traffic_wide<4>),   ATROUS_KERNEL(traffic_wide<8>),
      ATROUS_KERNEL(traffic_divergent), ATROUS_KERNEL(traffic_late),      ATROUS_KERNEL(traffic_shared<1>),
      ATROUS_KERNEL(traffic_shared<2>), ATROUS_KERNEL(traffic_shared<4>), ATROUS_KERNEL(traffic_bytes),
      ATROUS_KERNEL(traffic_copy),      ATROUS_KERNEL(traffic_matrix<1>), ATROUS_KERNEL(traffic_matrix<4>),
      ATROUS_KERNEL(traffic_bulk),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
