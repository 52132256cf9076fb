// Kernels that misuse mbarrier and cp.async, each in one way, and rings with one mistake planted.
#include "atrous/prims/block.cuh"
#include "atrous/probes/async_copy.cuh"
#include "atrous/probes/mbarrier.cuh"
#include "race.hpp"
#include "services.hpp"
#include "test_kernels.hpp"

namespace atrous {

namespace {

struct alignas(16) OneBarrier {
  prims::Barrier barrier;
  prims::Barrier more;
  unsigned char bytes[64];
};

OneBarrier& one_barrier() { return prims::shared<OneBarrier>(); }

// The barrier, initialised by thread 0 and visible to all.
prims::Barrier* ready_barrier(int count, bool fenced = true) {
  prims::Barrier* barrier = &one_barrier().barrier;
  if (threadIdx.x == 0) {
    prims::init_barrier(barrier, count);
    if (fenced) prims::fence_barrier_init();
  }
  prims::sync_block();
  return barrier;
}

// What the copy engine does: delivers bytes later, on no thread.
void deliver(prims::Barrier* barrier, int bytes) {
  const sim::race::Agent copy = sim::race::fork(sim::race::self(), true);
  const sim::Site site{__FILE__, __LINE__};
  const auto land = [=] {
    sim::complete_transaction(barrier, bytes, copy, site);
    sim::race::end(copy);
  };
  sim::issue({"deliver", site, {}, land, 0, 0});
}

__global__ void test_barrier_misaligned(const __grid_constant__ ProbeArguments) {
  prims::init_barrier(reinterpret_cast<prims::Barrier*>(one_barrier().bytes + 4), 1);
}

__global__ void test_barrier_not_in_shared(const __grid_constant__ ProbeArguments a) {
  prims::init_barrier(static_cast<prims::Barrier*>(a.y), 1);
}

__global__ void test_barrier_not_initialised(const __grid_constant__ ProbeArguments) {
  prims::arrive(&one_barrier().barrier);
}

// Each block but the first relies on what an earlier block initialised.
__global__ void test_barrier_of_an_earlier_block(const __grid_constant__ ProbeArguments) {
  if (blockIdx.x == 0) prims::init_barrier(&one_barrier().barrier, 1);
  prims::arrive(&one_barrier().barrier);
}

__global__ void test_barrier_overwritten(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(1);
  barrier->state = 0x1234;
  prims::arrive(barrier);
}

__global__ void test_barrier_initialised_again(const __grid_constant__ ProbeArguments) {
  prims::init_barrier(ready_barrier(1), 1);
}

__global__ void test_barrier_initialised_under_sleepers(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(1);
  if (threadIdx.x > 0) {
    prims::wait(barrier, 0);
  } else {
    for (int i = 0; i < 3; ++i) prims::is_complete(barrier, 0);
    prims::init_barrier(barrier, 1);
  }
}

// size[0]: the count
__global__ void test_barrier_count(const __grid_constant__ ProbeArguments a) {
  prims::init_barrier(&one_barrier().barrier, a.size[0]);
}

__global__ void test_barrier_too_many_arrivals(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(2);
  prims::arrive_expect(barrier, 64);
  prims::arrive(barrier);
  prims::arrive(barrier);
}

// size[0], then size[1] bytes are expected
__global__ void test_barrier_expect(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(2);
  prims::expect_bytes(barrier, a.size[0]);
  prims::arrive_expect(barrier, a.size[1]);
}

// A phase of size[0] arrivals and size[1] bytes, of which size[2] and size[3] come, after `count` phases of 16 bytes
// that all come; thread 0 alone does all.
__global__ void test_barrier_phase(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(a.size[0]);
  for (int phase = 0; phase < a.count; ++phase) {
    prims::expect_bytes(barrier, 16);
    deliver(barrier, 16);
    for (int i = 0; i < a.size[0]; ++i) prims::arrive(barrier);
    prims::wait(barrier, phase % 2);
  }
  if (a.size[1] > 0) prims::expect_bytes(barrier, a.size[1]);
  for (int i = 0; i < a.size[2]; ++i) prims::arrive(barrier);
  if (a.size[3] > 0) deliver(barrier, a.size[3]);
  prims::wait(barrier, static_cast<int>(a.count % 2));
}

// The same with a loop that asks.
__global__ void test_barrier_polls(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(a.size[0]);
  if (a.size[1] > 0) prims::expect_bytes(barrier, a.size[1]);
  for (int i = 0; i < a.size[2]; ++i) prims::arrive(barrier);
  if (a.size[3] > 0) deliver(barrier, a.size[3]);
  while (!prims::is_complete(barrier, 0)) {
  }
}

// Every second poll is of another barrier, and what the first one waits for follows from the loop itself.
__global__ void test_barrier_polls_in_turn(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(2);
  prims::Barrier* other = &one_barrier().more;
  prims::init_barrier(other, 1);
  prims::arrive(barrier);
  for (int i = 0; !prims::is_complete(barrier, 0); ++i) {
    if (!prims::is_complete(other, 0) && i == 3) prims::arrive(barrier);
  }
  static_cast<int*>(a.y)[0] = 1;
}

__global__ void test_barrier_parity(const __grid_constant__ ProbeArguments) { prims::wait(ready_barrier(1), 2); }

__global__ void test_barrier_invalidated_under_sleepers(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(2);
  if (threadIdx.x > 0) {
    prims::arrive(barrier);
    prims::wait(barrier, 0);
  } else {
    for (int i = 0; i < 3; ++i) prims::is_complete(barrier, 0);
    prims::invalidate(barrier);
  }
}

__global__ void test_barrier_invalidated_twice(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(1);
  prims::invalidate(barrier);
  prims::invalidate(barrier);
}

// size[0] bytes are outstanding when the block exits
__global__ void test_barrier_exit(const __grid_constant__ ProbeArguments a) {
  prims::arrive_expect(ready_barrier(1), a.size[0]);
}

__global__ void test_barrier_not_published(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = ready_barrier(1, false);
  prims::arrive_expect(barrier, 64);
  deliver(barrier, 64);
  prims::wait(barrier, 0);
}

// More bytes than a phase can count, size[0] at a time
__global__ void test_barrier_delivered_range(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(1);
  for (int i = 0; i < 2; ++i) deliver(barrier, a.size[0]);
  prims::wait(barrier, 0);
}

__global__ void test_barrier_remote_rank(const __grid_constant__ ProbeArguments) {
  prims::arrive_remote(ready_barrier(1), 1);
}

// y: [8] int32: whether phase `parity` is complete, asked before and after each of four phases by one thread.
__global__ void test_barrier_phases(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(1);
  int* y = static_cast<int*>(a.y);
  for (int phase = 0; phase < 4; ++phase) {
    y[4 * phase] = prims::is_complete(barrier, 0);
    y[4 * phase + 1] = prims::is_complete(barrier, 1);
    // Bytes may come before they are expected, and the phase stays open until all cancel.
    deliver(barrier, 48);
    prims::expect_bytes(barrier, 32);
    y[4 * phase + 2] = prims::is_complete(barrier, phase % 2);
    prims::arrive_expect(barrier, 16);
    prims::wait(barrier, phase % 2);
    y[4 * phase + 3] = prims::is_complete(barrier, phase % 2);
  }
}

// One thread initialises, another arrives with no barrier between: only the race check sees it where it comes later.
__global__ void test_barrier_init_not_ordered(const __grid_constant__ ProbeArguments) {
  prims::Barrier* barrier = &one_barrier().barrier;
  if (threadIdx.x == 0) {
    prims::init_barrier(barrier, 1);
  } else {
    prims::arrive(barrier);
  }
}

// Copies kBytes from x + size[0] to shared + size[1], of which size[2] are valid.
template <int kBytes>
__global__ void test_copy(const __grid_constant__ ProbeArguments a) {
  prims::copy_async<kBytes>(one_barrier().bytes + a.size[1], static_cast<const unsigned char*>(a.x) + a.size[0],
                            a.size[2]);
  prims::commit_copies();
  prims::wait_copies<0>();
}

__global__ void test_copy_to_global(const __grid_constant__ ProbeArguments a) { prims::copy_async<16>(a.y, a.x); }

__global__ void test_copy_from_shared(const __grid_constant__ ProbeArguments) {
  prims::copy_async<16>(one_barrier().bytes, one_barrier().bytes + 16);
}

// y: [2] int32: the destination, which holds 1, after a copy of x: [1] int32 that nobody waits for, and after a wait.
__global__ void test_copy_not_waited_for(const __grid_constant__ ProbeArguments a) {
  int* target = reinterpret_cast<int*>(one_barrier().bytes);
  *target = 1;
  prims::copy_async<4>(target, a.x);
  prims::commit_copies();
  static_cast<int*>(a.y)[0] = *target;
  prims::wait_copies<0>();
  static_cast<int*>(a.y)[1] = *target;
}

// y: [1] int32: a copy is started, its source overwritten with 2, and then waited for.
__global__ void test_copy_source_overwritten(const __grid_constant__ ProbeArguments a) {
  int* target = reinterpret_cast<int*>(one_barrier().bytes);
  prims::copy_async<4>(target, a.y);
  prims::commit_copies();
  static_cast<int*>(a.y)[0] = 2;
  prims::wait_copies<0>();
  static_cast<int*>(a.y)[0] = *target;
}

// y: [1] int32: the barrier of the copies counts an arrival more than comes.
__global__ void test_copies_arrive_too_few(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(2);
  prims::copy_async<4>(one_barrier().bytes, a.x);
  prims::arrive_after_copies(barrier);
  prims::wait(barrier, 0);
}

struct WaitsForTooFewGroups : CorrectRing {
  static constexpr int kMoreGroupsPending = 1;
};

struct ReadsWithoutBarrier : CorrectRing {
  static constexpr bool kSyncsBeforeReading = false;
};

struct OverwritesWhatIsRead : CorrectRing {
  static constexpr bool kOverwritesWhatIsRead = true;
};

struct LosesCountAtTheEnd : CorrectRing {
  static constexpr bool kCommitsEmptyGroups = false;
};

template <int kStages, class Rules>
__global__ void test_copy_ring(const __grid_constant__ ProbeArguments a) {
  sum_through_ring<kStages, Rules>(a);
}

struct OverwritesWhatIsFull : CorrectBarrierRing {
  static constexpr bool kWaitsForEmpty = false;
};

struct KeepsParity : CorrectBarrierRing {
  static constexpr bool kFlipsParity = false;
};

struct StartsWithWrongParity : CorrectBarrierRing {
  static constexpr int kProducerParity = 0;
};

struct ForgetsToArrive : CorrectBarrierRing {
  static constexpr bool kConsumerArrives = false;
};

struct ReadsWithoutWaiting : CorrectBarrierRing {
  static constexpr bool kConsumerWaits = false;
};

struct ArrivesWithoutWarp : CorrectBarrierRing {
  static constexpr bool kSyncsWarp = false;
};

struct ArrivesBeforeReading : CorrectBarrierRing {
  static constexpr bool kArrivesBeforeReading = true;
};

struct ArrivesBeforeStoring : CorrectBarrierRing {
  static constexpr bool kArrivesBeforeStoring = true;
};

template <bool kCopies, class Rules>
__global__ void test_barrier_ring(const __grid_constant__ ProbeArguments a) {
  pass_through_ring<2, kCopies, Rules>(a);
}

struct WaitsForOwnBlockOnly : CorrectPost {
  static constexpr bool kSeesCluster = false;
};

struct OverwritesOthersMail : CorrectPost {
  static constexpr bool kWaitsForEmpty = false;
};

struct LeavesEarly : CorrectPost {
  static constexpr bool kStaysForOthers = false;
};

template <class Rules>
__global__ void test_cluster_ring(const __grid_constant__ ProbeArguments a) {
  pass_through_cluster<2, Rules>(a);
}

// Block 1 arrives at a barrier of block 0: with size[0] = 0 right, 1 without a fence, 2 after the exit of block 0,
// 3 without arrive_remote.
__global__ void test_barrier_remote(const __grid_constant__ ProbeArguments a) {
  prims::Barrier* barrier = ready_barrier(1, a.size[0] != 1);
  prims::sync_cluster();
  if (prims::cluster_rank() == 1) {
    for (int i = 0; a.size[0] == 2 && i < 3; ++i) prims::is_complete(barrier, 0);
    if (a.size[0] == 3) prims::arrive(prims::map_shared(barrier, 0));
    prims::arrive_remote(barrier, 0);
  } else if (a.size[0] != 2) {
    prims::wait_remote(barrier, 0);
  }
  if (a.size[0] != 2) prims::sync_cluster();
}

}  // namespace

void add_test_kernels_barriers(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_barrier_misaligned),
      ATROUS_KERNEL(test_barrier_not_in_shared),
      ATROUS_KERNEL(test_barrier_not_initialised),
      ATROUS_KERNEL(test_barrier_of_an_earlier_block),
      ATROUS_KERNEL(test_barrier_overwritten),
      ATROUS_KERNEL(test_barrier_initialised_again),
      ATROUS_KERNEL(test_barrier_initialised_under_sleepers),
      ATROUS_KERNEL(test_barrier_count),
      ATROUS_KERNEL(test_barrier_too_many_arrivals),
      ATROUS_KERNEL(test_barrier_expect),
      ATROUS_KERNEL(test_barrier_phase),
      ATROUS_KERNEL(test_barrier_polls),
      ATROUS_KERNEL(test_barrier_polls_in_turn),
      ATROUS_KERNEL(test_barrier_parity),
      ATROUS_KERNEL(test_barrier_invalidated_under_sleepers),
      ATROUS_KERNEL(test_barrier_invalidated_twice),
      ATROUS_KERNEL(test_barrier_exit),
      ATROUS_KERNEL(test_barrier_not_published),
      ATROUS_KERNEL(test_barrier_delivered_range),
      ATROUS_KERNEL(test_barrier_remote_rank),
      ATROUS_KERNEL(test_barrier_phases),
      ATROUS_KERNEL(test_barrier_init_not_ordered),
      ATROUS_KERNEL(test_copy<4>),
      ATROUS_KERNEL(test_copy<8>),
      ATROUS_KERNEL(test_copy<16>),
      ATROUS_KERNEL(test_copy_to_global),
      ATROUS_KERNEL(test_copy_from_shared),
      ATROUS_KERNEL(test_copy_not_waited_for),
      ATROUS_KERNEL(test_copy_source_overwritten),
      ATROUS_KERNEL(test_copies_arrive_too_few),
      ATROUS_KERNEL(test_copy_ring<3, WaitsForTooFewGroups>),
      ATROUS_KERNEL(test_copy_ring<4, WaitsForTooFewGroups>),
      ATROUS_KERNEL(test_copy_ring<3, ReadsWithoutBarrier>),
      ATROUS_KERNEL(test_copy_ring<3, OverwritesWhatIsRead>),
      ATROUS_KERNEL(test_copy_ring<3, LosesCountAtTheEnd>),
      ATROUS_KERNEL(test_barrier_ring<false, OverwritesWhatIsFull>),
      ATROUS_KERNEL(test_barrier_ring<true, OverwritesWhatIsFull>),
      ATROUS_KERNEL(test_barrier_ring<false, KeepsParity>),
      ATROUS_KERNEL(test_barrier_ring<false, StartsWithWrongParity>),
      ATROUS_KERNEL(test_barrier_ring<false, ForgetsToArrive>),
      ATROUS_KERNEL(test_barrier_ring<false, ReadsWithoutWaiting>),
      ATROUS_KERNEL(test_barrier_ring<true, ReadsWithoutWaiting>),
      ATROUS_KERNEL(test_barrier_ring<false, ArrivesWithoutWarp>),
      ATROUS_KERNEL(test_barrier_ring<true, ArrivesWithoutWarp>),
      ATROUS_KERNEL(test_barrier_ring<false, ArrivesBeforeReading>),
      ATROUS_KERNEL(test_barrier_ring<false, ArrivesBeforeStoring>),
      ATROUS_KERNEL(test_cluster_ring<WaitsForOwnBlockOnly>),
      ATROUS_KERNEL(test_cluster_ring<OverwritesOthersMail>),
      ATROUS_KERNEL(test_cluster_ring<LeavesEarly>),
      ATROUS_KERNEL(test_barrier_remote),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
