// Vector clocks of the race check: what each thread and asynchronous operation of a cluster has seen of the others.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "race.hpp"

namespace atrous::sim::race {

// An agent counts the stretches of its life between the moments at which others may learn of it, from 1 on.
using Count = std::uint32_t;

// What had been seen of every agent at some moment; never changed once made, and shared by all who know just that.
struct Snapshot {
  std::uint64_t number;
  long references;
  std::vector<Count> counts;

  Count of(Agent agent) const { return static_cast<std::size_t>(agent) < counts.size() ? counts[agent] : 0; }
};

// A counted reference, or none; std::shared_ptr would count atomically.
class SnapshotPointer {
 public:
  SnapshotPointer() = default;
  explicit SnapshotPointer(Snapshot* snapshot) : snapshot_(snapshot) { retain(); }
  SnapshotPointer(const SnapshotPointer& other) : snapshot_(other.snapshot_) { retain(); }
  SnapshotPointer(SnapshotPointer&& other) noexcept : snapshot_(other.snapshot_) { other.snapshot_ = nullptr; }
  SnapshotPointer& operator=(SnapshotPointer other) noexcept {
    Snapshot* mine = snapshot_;
    snapshot_ = other.snapshot_;
    other.snapshot_ = mine;
    return *this;
  }
  ~SnapshotPointer() {
    if (snapshot_ != nullptr && --snapshot_->references == 0) delete snapshot_;
  }

  const Snapshot* get() const { return snapshot_; }
  const Snapshot* operator->() const { return snapshot_; }

 private:
  void retain() const {
    if (snapshot_ != nullptr) ++snapshot_->references;
  }
  Snapshot* snapshot_ = nullptr;
};

// A snapshot and the little that was seen since.
struct Clock {
  struct Seen {
    Agent agent;
    Count count;
  };

  SnapshotPointer base;
  std::vector<Seen> since;

  Count of(Agent agent) const {
    Count count = base.get() == nullptr ? 0 : base->of(agent);
    for (const Seen& seen : since) {
      if (seen.agent == agent && seen.count > count) count = seen.count;
    }
    return count;
  }
  bool is_empty() const { return base.get() == nullptr && since.empty(); }
};

struct AgentState {
  Clock clock;  // what it has seen of others
  Clock proxy;  // what of the writes through the generic proxy it knows to be visible to the asynchronous proxy
  Clock reads;  // what it knows to be over, beyond `clock`, where it may not see what threads wrote
  Count count = 1;
  Count first = 1;   // the count at which its life began; before, its number was another operation's
  Agent thread = 0;  // itself, or the thread that issued it
  bool is_operation = false;
  bool is_async_proxy = false;
  bool has_learnt = false;    // an operation that has seen more than its issuer had when it issued it
  std::uint32_t segment = 0;  // the shadow's number for this stretch; 0: none yet
};

class Clocks {
 public:
  void begin(int threads, int threads_of_block);

  void join(const Agent* agents, int count);
  void release(const void* cell, Agent agent);
  void release_reads(const void* cell, Agent agent);
  void acquire(const void* cell, Agent agent);
  void forget(const void* cell) { cells_.erase(cell); }
  Agent fork(Agent issuer, bool is_async_proxy);
  void observe(Agent agent, Agent operation);
  void end(Agent operation);
  void fence_proxy(Agent agent);

  AgentState& operator[](Agent agent) { return agents_[agent]; }
  const AgentState& operator[](Agent agent) const { return agents_[agent]; }
  int threads() const { return threads_; }

  // Whether what `other` did in its stretch `count` comes before what `agent` does now.
  bool is_ordered(Agent agent, Agent other, Count count) const {
    const AgentState& state = agents_[agent];
    return (other == agent && count >= state.first) || state.clock.of(other) >= count;
  }
  // Whether that is over: enough to overwrite what was read, and for what an asynchronous operation wrote.
  bool is_over(Agent agent, Agent other, Count count) const {
    return is_ordered(agent, other, count) || agents_[agent].reads.of(other) >= count;
  }
  // And, if it was a generic write, whether `agent`, of the asynchronous proxy, sees it.
  bool is_fenced(Agent agent, Agent other, Count count) const { return agents_[agent].proxy.of(other) >= count; }

 private:
  // A fence of the proxies counts in the block that executed it: a block learns of none in another.
  struct Cell {
    Clock clock, reads;
    std::vector<Clock> proxies;  // by block of the cluster
  };
  struct Remembered {
    SnapshotPointer one, other, both;
  };

  static void start_stretch(AgentState& state);
  SnapshotPointer make(std::vector<Count> counts) const;
  SnapshotPointer joined(const SnapshotPointer& one, const SnapshotPointer& other);
  SnapshotPointer join_clocks(const Agent* agents, int count, Clock AgentState::* clock, bool with_own);
  void absorb(Clock& clock, const Clock& other);
  void add(Clock& clock, Agent agent, Count count);

  std::size_t block_of(const AgentState& state) const {
    return static_cast<std::size_t>(state.thread / threads_of_block_);
  }

  int threads_ = 0;
  int threads_of_block_ = 1;
  std::vector<AgentState> agents_;
  std::vector<Agent> free_;  // numbers of operations that have ended
  std::unordered_map<const void*, Cell> cells_;
  std::vector<Remembered> remembered_;
};

}  // namespace atrous::sim::race
