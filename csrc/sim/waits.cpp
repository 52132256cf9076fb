// The waits of a thread, the one place that ends each, and the memory that a thread asks for.
#include <algorithm>

#include "machine.hpp"

namespace atrous::sim {

void Machine::wait_at_barrier(Site site) {
  yield();
  Thread& thread = *current_;
  Block& block = *thread.block;
  thread.state = State::kAtBlockBarrier;
  thread.site = site;
  if (++block.at_barrier == block_count()) release_barrier(block);
  leave(thread);
}

void Machine::release_barrier(Block& block) {
  const std::size_t count = block_count();
  Thread* const first = &threads_[static_cast<std::size_t>(block.rank) * count];
  const Site site = first->site;
  for (std::size_t i = 0; i < count; ++i) {
    if (first[i].site == site) continue;
    return stop(where(&block, nullptr) + "divergent barrier: " + describe_threads({first, block_threads_, 1}));
  }
  race::join(race::kEnabled ? &agents_[static_cast<std::size_t>(agent_of(*first))] : nullptr, block_threads_);
  traffic::meet_block(block.rank);
  block.at_barrier = 0;
  idle_rounds_ = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = first[order_ == Order::kReverse ? count - 1 - i : i];
    thread.state = State::kReady;
    push_ready(&thread);
  }
}

std::uint64_t Machine::wait_at_collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site) {
  yield();
  Thread& thread = *current_;
  thread.kind = kind;
  thread.mask = mask;
  thread.bits = bits;
  thread.source = 0 <= source && source < kWarpLanes ? source : thread.lane();
  thread.site = site;
  arrive_at_collective(nullptr);
  return thread.bits;
}

void Machine::wait_at_action(const char* name, unsigned mask, void* left, WarpAction action, Site site) {
  yield();
  Thread& thread = *current_;
  thread.kind = Collective::kNamed;
  thread.mask = mask;
  thread.name = name;
  thread.left = left;
  thread.site = site;
  if ((mask >> thread.lane() & 1u) == 0)
    fail(std::string(name) + place_of(site) + " is called by lane " + std::to_string(thread.lane()) +
         ", which its mask does not name");
  arrive_at_collective(action);
}

void Machine::arrive_at_collective(WarpAction action) {
  Thread& thread = *current_;
  thread.state = State::kAtCollective;
  Warp& warp = warps_[static_cast<std::size_t>(thread.warp)];
  warp.waiting |= 1u << thread.lane();
  if ((warp.waiting & thread.mask) == thread.mask) release_warp(&thread - thread.lane(), thread.mask, action);
  leave(thread);
}

// Every lane has arrived: the exchange happens here, at once, so that no lane can be overtaken while it reads.
void Machine::release_warp(Thread* lanes, unsigned mask, WarpAction action) {
  std::uint64_t bits[kWarpLanes] = {};
  std::uint64_t votes = 0;
  const Thread& first = lanes[__builtin_ctz(mask)];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    if (!same_collective(lanes[lane], first))
      return stop(where(first.block, nullptr) + "mismatched warp collectives: " +
                  describe_threads(
                      {&threads_[static_cast<std::size_t>(first.block->rank * block_threads_)], block_threads_, 1}));
    bits[lane] = lanes[lane].bits;
    votes |= (bits[lane] & 1u) << lane;
  }
  if (action != nullptr) {
    void* left[kWarpLanes] = {};
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      if ((mask >> lane & 1u) != 0) left[lane] = lanes[lane].left;
    }
    is_acting_ = true;
    action(left);
    is_acting_ = false;
  }
  // CUDA promises an order of memory accesses from the warp's barrier alone: shuffles and votes are none.
  if (race::kEnabled && first.kind == Collective::kWarpBarrier) {
    race::Agent agents[kWarpLanes];
    int count = 0;
    for (int lane = 0; lane < kWarpLanes; ++lane) {
      if ((mask >> lane & 1u) != 0) agents[count++] = agent_of(lanes[lane]);
    }
    race::join(agents, count);
  }
  meet(lanes, mask);
  warps_[static_cast<std::size_t>(first.warp)].waiting &= ~mask;
  idle_rounds_ = 0;
  for (int i = 0; i < kWarpLanes; ++i) {
    const int lane = order_ == Order::kReverse ? kWarpLanes - 1 - i : i;
    if ((mask >> lane & 1u) == 0) continue;
    Thread& thread = lanes[lane];
    thread.bits = thread.kind == Collective::kBallot ? votes : bits[thread.source];
    thread.state = State::kReady;
    push_ready(&thread);
  }
}

// Tells the counting of traffic where a whole warp has met, but for lanes that are done.
void Machine::meet(const Thread* lanes, unsigned mask) const {
  if constexpr (!race::kEnabled) return;
  for (int lane = 0; lane < kWarpLanes && lanes->number + lane < block_threads_; ++lane) {
    if ((mask >> lane & 1u) == 0 && lanes[lane].state != State::kDone) return;
  }
  traffic::meet_warp(agent_of(*lanes));
}

void Machine::sleep_on(const void* cell, Describe describe, Site site) {
  Thread& thread = *current_;
  thread.state = State::kAsleep;
  thread.cell = cell;
  thread.describe = describe;
  thread.site = site;
  sleepers_[cell].push_back(&thread);
  leave(thread);
}

void Machine::wake(const void* cell) {
  idle_rounds_ = 0;
  const auto found = sleepers_.find(cell);
  if (found == sleepers_.end()) return;
  std::vector<Thread*>& threads = found->second;
  if (order_ == Order::kReverse) std::reverse(threads.begin(), threads.end());
  for (Thread* thread : threads) {
    thread->state = State::kReady;
    push_ready(thread);
  }
  threads.clear();
}

void Machine::poll(const void* cell, Describe describe, Site site) {
  yield();
  Thread& thread = *current_;
  thread.state = State::kPolling;
  thread.cell = cell;
  thread.describe = describe;
  thread.site = site;
  pollers_.push_back(&thread);
  leave(thread);
}

void* Machine::static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function) {
  yield();
  void* object = shared_.static_object(current_->block->rank, key, bytes, alignment, function);
  if (object == nullptr)
    fail("its " + std::to_string(shared_.static_bytes()) + " bytes of static and " +
         std::to_string(shared_.dynamic_bytes()) + " of dynamic shared memory are more than the " +
         std::to_string(kDefaultSharedBytes) + " that static objects, and the " + std::to_string(shared_.limit()) +
         " that both together may take");
  return object;
}

unsigned char* Machine::dynamic_memory() {
  yield();
  return shared_.dynamic(current_->block->rank);
}

void Machine::at_block_exit(void (*check)(int rank)) {
  if (std::find(exit_checks_.begin(), exit_checks_.end(), check) == exit_checks_.end()) exit_checks_.push_back(check);
}

}  // namespace atrous::sim
