// Kernels that test the race check: right where `count` is 1, and where it is 0 each lacks the one thing it is about.
#include "atrous/prims/block.cuh"
#include "atrous/prims/warp.cuh"
#include "race.hpp"
#include "services.hpp"
#include "test_kernels.hpp"

namespace atrous {

namespace {

namespace race = sim::race;

struct RaceArguments {
  const void* x;
  void* y;  // [blocks * threads] int32
  long long count;
  int variant;
  int unused;
};

struct RaceNumbers {
  int value[256];
};

struct RaceRow {
  unsigned char byte[64];
};

struct RaceRows {
  RaceRow row[256];
};

__device__ __forceinline__ int& result(const RaceArguments& a) {
  return static_cast<int*>(a.y)[blockIdx.x * blockDim.x + threadIdx.x];
}

// Overwrites what a thread of another warp reads; lacks the barrier between the two.
__global__ void race_overwrite(const __grid_constant__ RaceArguments a) {
  int* value = prims::shared<RaceNumbers>().value;
  const unsigned me = threadIdx.x, other = me ^ 32u;
  value[me] = static_cast<int>(me);
  prims::sync_block();
  result(a) = value[other];
  if (a.count == 1) prims::sync_block();
  value[me] = -1;
}

// Reads what another lane wrote; lacks sync_warp, for which a shuffle is no substitute.
__global__ void race_lanes(const __grid_constant__ RaceArguments a) {
  int* value = prims::shared<RaceNumbers>().value;
  const unsigned me = threadIdx.x;
  value[me] = static_cast<int>(me);
  prims::shuffle_xor(value[me], 1);
  if (a.count == 1) prims::sync_warp();
  result(a) = value[me ^ 1u];
}

// Every block writes a cell of its own; the wrong one has them write the same, or with variant 1 reads another's.
__global__ void race_blocks(const __grid_constant__ RaceArguments a) {
  int* y = static_cast<int*>(a.y);
  if (threadIdx.x != 0) return;
  if (a.variant == 1) {
    y[blockIdx.x] = a.count == 1 ? 1 : y[blockIdx.x ^ 1u];
  } else {
    y[a.count == 1 ? blockIdx.x : 0] = 1;
  }
}

// Threads write neighbouring bytes (variant 0) or pairs of them (1) of one word; the wrong ones overlap.
__global__ void race_bytes(const __grid_constant__ RaceArguments a) {
  unsigned char* bytes = reinterpret_cast<unsigned char*>(&prims::shared<RaceNumbers>());
  const unsigned me = threadIdx.x;
  if (a.variant == 0)
    bytes[a.count == 1 ? me : me / 2] = 1;
  else
    reinterpret_cast<unsigned short*>(bytes)[a.count == 1 ? me : me / 2] = 1;
}

// Writes 64 bytes by an assignment (variant 0), memcpy (1), memmove (2), memset (3), a loop that the compiler may turn
// into one (4) or one that copies (5), and reads a neighbour's.
__global__ void race_copies(const __grid_constant__ RaceArguments a) {
  RaceRow* row = prims::shared<RaceRows>().row;
  const unsigned me = threadIdx.x;
  RaceRow mine = {};
  mine.byte[7] = static_cast<unsigned char>(me);
  const auto bytes = static_cast<std::size_t>(a.x == nullptr ? sizeof mine : 0);
  if (a.variant == 0) row[me] = mine;
  if (a.variant == 1) memcpy(&row[me], &mine, bytes);
  if (a.variant == 2) memmove(&row[me], &mine, bytes);
  if (a.variant == 3) memset(&row[me], 1, bytes);
  for (std::size_t i = 0; a.variant == 4 && i < sizeof mine; ++i) row[me].byte[i] = 0;
  for (std::size_t i = 0; a.variant == 5 && i < sizeof mine; ++i) row[me].byte[i] = mine.byte[i];
  if (a.count == 1) prims::sync_block();
  if (a.variant == 1) {
    memcpy(&mine, &row[me ^ 33u], bytes);
  } else {
    mine = row[me ^ 33u];
  }
  result(a) = mine.byte[7];
}

// Reads a byte of shared memory that nobody wrote: static (variant 0) or dynamic.
__global__ void race_unwritten(const __grid_constant__ RaceArguments a) {
  unsigned char* bytes = prims::dynamic_shared();
  if (a.variant == 0) bytes = reinterpret_cast<unsigned char*>(&prims::shared<RaceNumbers>());
  if (threadIdx.x == 0 && a.count == 1) bytes[5] = 1;
  prims::sync_block();
  result(a) = bytes[5];
}

// Threads of the running cluster that have arrived, for a wait that orders nothing by itself; the check does not see
// it.
__attribute__((no_sanitize("thread"), noinline)) int arrived(int more) {
  static std::uint64_t serial = 0;
  static int count = 0;
  if (serial != sim::cluster_serial()) count = 0;
  serial = sim::cluster_serial();
  return count += more;
}

std::string describe_wait(const void*) { return "for warp 0"; }

// The threads of warp 1 read what warp 0 wrote; a cell carries the order, unless its release (variant 0) or its acquire
// (1) is left out.
__global__ void race_cells(const __grid_constant__ RaceArguments a) {
  int* value = prims::shared<RaceNumbers>().value;
  const unsigned me = threadIdx.x;
  int* cell = &value[64];
  if (me < 32) {
    value[me] = 1;
    if (a.count == 1 || a.variant != 0) race::release(cell, race::self());
    if (arrived(1) == 32) sim::wake(cell);
    return;
  }
  while (arrived(0) < 32) sim::sleep_on(cell, &describe_wait, {__FILE__, __LINE__});
  if (a.count == 1 || a.variant != 1) race::acquire(cell, race::self());
  result(a) = value[me - 32];
}

// An operation writes what its thread reads later (variant 0) or reads what its thread overwrites (1); the wrong ones
// do not observe it.
__global__ void race_operations(const __grid_constant__ RaceArguments a) {
  int* value = prims::shared<RaceNumbers>().value;
  const unsigned me = threadIdx.x;
  const sim::Site site{__FILE__, __LINE__};
  value[me] = static_cast<int>(me);
  const race::Agent operation = race::fork(race::self(), false);
  if (a.variant == 0)
    race::write(operation, &value[me], sizeof(int), site);
  else
    race::read(operation, &value[me], sizeof(int), site);
  if (a.count == 1) race::observe(race::self(), operation);
  if (a.variant == 0)
    result(a) = value[me];
  else
    value[me] = 0;
  race::end(operation);
}

// Thread 0 has the asynchronous proxy read what all wrote; the wrong one lacks the fence of the proxies, which stands
// ahead of the barrier (variant 0) or behind it in thread 0 (1).
__global__ void race_proxies(const __grid_constant__ RaceArguments a) {
  int* value = prims::shared<RaceNumbers>().value;
  const unsigned me = threadIdx.x;
  value[me] = static_cast<int>(me);
  if (a.count == 1 && a.variant == 0) race::fence_proxy(race::self());
  prims::sync_block();
  if (me != 0) return;
  if (a.count == 1 && a.variant == 1) race::fence_proxy(race::self());
  const race::Agent operation = race::fork(race::self(), true);
  race::read(operation, value, sizeof(int) * blockDim.x, {__FILE__, __LINE__});
  race::observe(race::self(), operation);
  race::end(operation);
}

}  // namespace

void add_test_kernels_race(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(race_overwrite), ATROUS_KERNEL(race_lanes),      ATROUS_KERNEL(race_blocks),
      ATROUS_KERNEL(race_bytes),     ATROUS_KERNEL(race_copies),     ATROUS_KERNEL(race_unwritten),
      ATROUS_KERNEL(race_cells),     ATROUS_KERNEL(race_operations), ATROUS_KERNEL(race_proxies),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
