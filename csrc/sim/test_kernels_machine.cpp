// Kernels that test clusters, named barriers, registers and the machine's services; by a.mode right, or wrong.
#include "atrous/prims/block.cuh"
#include "atrous/prims/cluster.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/prims/warpgroup.cuh"
#include "atrous/problem.hpp"
#include "services.hpp"
#include "test_kernels.hpp"

namespace atrous {

namespace {

struct MachineArguments {
  const void* x;
  void* y;
  int64 count;
  int mode;
  int value;
};

struct Ints {
  int value[256];
};

struct Doubles {
  double value[3];
};

int me() { return static_cast<int>(threadIdx.x); }

int64 block_number() { return (static_cast<int64>(blockIdx.z) * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x; }

// ---- clusters

// y: [blocks, 2] int32 = rank, blocks of the cluster
__global__ void test_ranks(const __grid_constant__ MachineArguments a) {
  if (me() != 0) return;
  int* y = static_cast<int*>(a.y) + block_number() * 2;
  y[0] = prims::cluster_rank();
  y[1] = prims::cluster_blocks();
}

// y: [blocks, 2] int32 = offsets of two static objects, which even and odd ranks use in opposite orders
__global__ void test_offsets(const __grid_constant__ MachineArguments a) {
  int* y = static_cast<int*>(a.y) + block_number() * 2;
  for (int i = 0; i < 2; ++i) {
    const bool is_first = i == prims::cluster_rank() % 2;
    const void* object = is_first ? static_cast<void*>(&prims::shared<Ints>()) : &prims::shared<Doubles>();
    if (me() == 0) y[is_first ? 0 : 1] = static_cast<int>(sim::shared_place(object).offset);
  }
}

// y: [blocks, threads] int32 = what the next block of the cluster holds, after `count` rounds of passing on
__global__ void test_cluster_ring(const __grid_constant__ MachineArguments a) {
  int* value = prims::shared<Ints>().value;
  const int next = (prims::cluster_rank() + 1) % prims::cluster_blocks();
  int own = static_cast<int>(block_number()) * 1000 + me();
  for (int64 i = 0; i < a.count; ++i) {
    value[me()] = own;
    prims::sync_cluster();
    own = prims::map_shared(value, next)[me()];
    prims::sync_cluster();
  }
  static_cast<int*>(a.y)[block_number() * blockDim.x + me()] = own;
}

// Block 1 exits while block 0 holds a pointer into its shared memory.
__global__ void test_exited_block(const __grid_constant__ MachineArguments a) {
  int* value = prims::shared<Ints>().value;
  value[me()] = 7;
  int* theirs = prims::map_shared(value, 1);
  prims::sync_cluster();
  if (prims::cluster_rank() == 1) return;
  const auto describe = [](const void*) { return std::string("for the exit of block 1"); };
  while (!sim::is_exited(1)) sim::poll(value, describe, {__FILE__, __LINE__});
  if (a.mode == 0) static_cast<int*>(a.y)[me()] = theirs[me()];
  if (a.mode == 1) theirs[me()] = 5;
  if (a.mode == 2) prims::map_shared(value, 1);
  if (a.mode == 3) sim::require_shared(theirs, 4, "test");
}

__global__ void test_cluster_mistakes(const __grid_constant__ MachineArguments a) {
  if (a.mode == 0) prims::wait_cluster();
  if (a.mode == 1 && me() == 5) prims::arrive_cluster();
  if (a.mode == 2 && me() == 5) return;
  if (a.mode == 3) prims::map_shared(prims::shared<Ints>().value, prims::cluster_blocks());
  if (a.mode == 4) prims::map_shared(prims::map_shared(prims::shared<Ints>().value, 1 - prims::cluster_rank()), 0);
  prims::sync_cluster();
}

// ---- named barriers and registers

// y: [64] int32; warps 0 and 1 fill a buffer that warps 2 and 3 add up, `count` times; arrivals on one side, waits on
// the other
__global__ void test_handover(const __grid_constant__ MachineArguments a) {
  int* value = prims::shared<Ints>().value;
  int sum = 0;
  for (int i = 0; i < static_cast<int>(a.count); ++i) {
    if (me() < 64) {
      if (i > 0) prims::sync_named(2, 128);
      value[me()] = i * me();
      prims::arrive_named(1, 128);
    } else {
      prims::sync_named(1, 128);
      sum += value[127 - me()];
      if (i + 1 < a.count) prims::arrive_named(2, 128);
    }
  }
  if (me() >= 64) static_cast<int*>(a.y)[127 - me()] = sum;
}

__global__ void test_named_mistakes(const __grid_constant__ MachineArguments a) {
  const int warp = me() / 32;
  if (a.mode == 0) prims::sync_named(a.value, 64);
  if (a.mode == 1) prims::sync_named(1, a.value);
  if (a.mode == 2) prims::sync_named(1, warp == 0 ? 64 : 128);
  if (a.mode == 3 && warp == 0) {
    prims::arrive_named(3, 96);
    prims::arrive_named(3, 96);
  }
  if (a.mode == 4) prims::sync_named(1 + me() % 2, 64);
  if (a.mode == 5 && warp != 1) prims::sync_named(3, 128);
  if (a.mode == 6 && me() != 40) prims::sync_named(3, 128);
}

// Warpgroup 0 gives registers and the others take them.
__global__ void test_registers(const __grid_constant__ MachineArguments a) {
  if (me() < 128)
    prims::give_registers<40>();
  else
    prims::take_registers<232>();
  prims::sync_block();
  if (me() < 128)
    prims::take_registers<48>();
  else
    prims::give_registers<224>();
  if (me() == 0) static_cast<int*>(a.y)[0] = 1;
}

__global__ void test_register_mistakes(const __grid_constant__ MachineArguments a) {
  const sim::Site site{__FILE__, __LINE__};
  const int warp = me() / 32;
  if (a.mode == 0) sim::give_registers(a.value, site);
  if (a.mode == 1) sim::take_registers(a.value, site);
  if (a.mode == 2) sim::give_registers(warp == 2 ? 48 : 40, site);
  if (a.mode == 3 && warp != 2) sim::give_registers(40, site);
  if (a.mode == 4 && warp == 1) {
    sim::give_registers(48, site);
    sim::give_registers(40, site);
  }
  if (a.mode == 5) me() < 128 ? sim::give_registers(80, site) : sim::take_registers(224, site);
}

// ---- warps

struct Share {
  int value;
  int sum;
};

void add_up(void* const* left) {
  int sum = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (left[lane] != nullptr) sum += static_cast<Share*>(left[lane])->value;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (left[lane] != nullptr) static_cast<Share*>(left[lane])->sum = sum;
  }
}

// y: [threads] int32 = the sum of the thread numbers of its half warp (mode 0)
__global__ void test_actions(const __grid_constant__ MachineArguments a) {
  const sim::Site site{__FILE__, __LINE__};
  const bool is_low = me() % 32 < 16;
  Share share{me(), 0};
  if (a.mode == 0) sim::warp_collective("add_up", is_low ? 0xffffu : 0xffff0000u, &share, &add_up, site);
  if (a.mode == 1) sim::warp_collective(is_low ? "add_up" : "add", sim::warp_mask(), &share, &add_up, site);
  if (a.mode == 2) sim::warp_collective("add_up", 0xffffu, &share, &add_up, site);
  if (a.mode == 3 && me() != 9) sim::warp_collective("add_up", sim::warp_mask(), &share, &add_up, site);
  if (a.mode == 4)
    sim::warp_collective("add_up", sim::warp_mask(), &share, [](void* const*) { sim::fail("it is too late"); }, site);
  static_cast<int*>(a.y)[me()] = share.sum;
}

// y: [2 * threads] int32 = the numbers of the threads, in the order in which they came past two points
__global__ void test_turns(const __grid_constant__ MachineArguments a) {
  int* value = prims::shared<Ints>().value;
  if (value[0] < 0) value[0] = 0;
  for (int i = 0; i < 2; ++i) {
    static_cast<int*>(a.y)[value[0]++] = me();
    prims::sync_warp();
  }
}

}  // namespace

void add_test_kernels_machine(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_ranks),
      ATROUS_KERNEL(test_offsets),
      ATROUS_KERNEL(test_cluster_ring),
      ATROUS_KERNEL(test_exited_block),
      ATROUS_KERNEL(test_cluster_mistakes),
      ATROUS_KERNEL(test_handover),
      ATROUS_KERNEL(test_named_mistakes),
      ATROUS_KERNEL(test_registers),
      ATROUS_KERNEL(test_register_mistakes),
      ATROUS_KERNEL(test_actions),
      ATROUS_KERNEL(test_turns),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
