// Vector clocks: joins cost one pass over the agents, since those who know the same share one snapshot.
#ifdef ATROUS_SIM_RACE

#include "race_clocks.hpp"

#include <algorithm>
#include <utility>

namespace atrous::sim::race {

static constexpr std::size_t kMostSince = 48;
static constexpr std::size_t kRememberedJoins = 256;

static void raise_to(std::vector<Count>& counts, const std::vector<Count>& other) {
  if (counts.size() < other.size()) counts.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) counts[i] = std::max(counts[i], other[i]);
}

static void raise_to(std::vector<Count>& counts, Agent agent, Count count) {
  if (counts.size() <= static_cast<std::size_t>(agent)) counts.resize(static_cast<std::size_t>(agent) + 1);
  counts[agent] = std::max(counts[agent], count);
}

void Clocks::begin(int threads, int threads_of_block) {
  threads_ = threads;
  threads_of_block_ = threads_of_block;
  agents_.assign(static_cast<std::size_t>(threads), AgentState{});
  for (int i = 0; i < threads; ++i) agents_[i].thread = i;
  free_.clear();
  cells_.clear();
  remembered_.assign(kRememberedJoins, Remembered{});
}

void Clocks::start_stretch(AgentState& state) {
  ++state.count;
  state.segment = 0;
}

SnapshotPointer Clocks::make(std::vector<Count> counts) const {
  static thread_local std::uint64_t number = 0;
  return SnapshotPointer(new Snapshot{++number, 0, std::move(counts)});
}

// Threads that know the same often learn the same: the last joins are remembered.
SnapshotPointer Clocks::joined(const SnapshotPointer& one, const SnapshotPointer& other) {
  if (other.get() == nullptr || one.get() == other.get()) return one;
  if (one.get() == nullptr) return other;
  Remembered& place = remembered_[(one->number * 31 + other->number) % kRememberedJoins];
  if (place.one.get() == one.get() && place.other.get() == other.get()) return place.both;
  std::vector<Count> counts = one->counts;
  raise_to(counts, other->counts);
  const SnapshotPointer both = counts == one->counts ? one : counts == other->counts ? other : make(std::move(counts));
  place = {one, other, both};
  return both;
}

void Clocks::add(Clock& clock, Agent agent, Count count) {
  if (clock.of(agent) >= count) return;
  for (Clock::Seen& seen : clock.since) {
    if (seen.agent != agent) continue;
    seen.count = count;
    return;
  }
  clock.since.push_back({agent, count});
  if (clock.since.size() <= kMostSince) return;
  std::vector<Count> counts;
  if (clock.base.get() != nullptr) counts = clock.base->counts;
  for (const Clock::Seen& seen : clock.since) raise_to(counts, seen.agent, seen.count);
  clock.base = make(std::move(counts));
  clock.since.clear();
}

void Clocks::absorb(Clock& clock, const Clock& other) {
  clock.base = joined(clock.base, other.base);
  for (const Clock::Seen& seen : other.since) add(clock, seen.agent, seen.count);
}

// One snapshot of all that these agents have seen, and with_own: of them.
SnapshotPointer Clocks::join_clocks(const Agent* agents, int count, Clock AgentState::* clock, bool with_own) {
  std::vector<const Snapshot*> bases;
  for (int i = 0; i < count; ++i) {
    const Snapshot* base = (agents_[agents[i]].*clock).base.get();
    if (base != nullptr && std::find(bases.rbegin(), bases.rend(), base) == bases.rend()) bases.push_back(base);
  }
  std::vector<Count> counts(agents_.size());
  for (const Snapshot* base : bases) raise_to(counts, base->counts);
  bool is_empty = bases.empty() && !with_own;
  for (int i = 0; i < count; ++i) {
    const AgentState& state = agents_[agents[i]];
    if (with_own) raise_to(counts, agents[i], state.count);
    for (const Clock::Seen& seen : (state.*clock).since) {
      raise_to(counts, seen.agent, seen.count);
      is_empty = false;
    }
  }
  return is_empty ? SnapshotPointer() : make(std::move(counts));
}

void Clocks::join(const Agent* agents, int count) {
  const SnapshotPointer clock = join_clocks(agents, count, &AgentState::clock, true);
  const SnapshotPointer proxy = join_clocks(agents, count, &AgentState::proxy, false);
  const SnapshotPointer reads = join_clocks(agents, count, &AgentState::reads, false);
  for (int i = 0; i < count; ++i) {
    AgentState& state = agents_[agents[i]];
    state.clock.base = clock;
    state.clock.since.clear();
    state.proxy.base = proxy;
    state.proxy.since.clear();
    state.reads.base = reads;
    state.reads.since.clear();
    start_stretch(state);
  }
}

void Clocks::release(const void* cell, Agent agent) {
  AgentState& state = agents_[agent];
  Cell& to = cells_[cell];
  absorb(to.clock, state.clock);
  add(to.clock, agent, state.count);
  if (to.proxies.empty()) to.proxies.resize(static_cast<std::size_t>(threads_ / threads_of_block_));
  absorb(to.proxies[block_of(state)], state.proxy);
  absorb(to.reads, state.reads);
  start_stretch(state);
}

void Clocks::release_reads(const void* cell, Agent agent) {
  AgentState& state = agents_[agent];
  Cell& to = cells_[cell];
  absorb(to.reads, state.clock);
  absorb(to.reads, state.reads);
  add(to.reads, agent, state.count);
  start_stretch(state);
}

void Clocks::acquire(const void* cell, Agent agent) {
  const auto found = cells_.find(cell);
  if (found == cells_.end()) return;
  AgentState& state = agents_[agent];
  absorb(state.clock, found->second.clock);
  const std::vector<Clock>& proxies = found->second.proxies;
  if (!proxies.empty()) absorb(state.proxy, proxies[block_of(state)]);
  absorb(state.reads, found->second.reads);
  state.has_learnt = true;
  start_stretch(state);
}

Agent Clocks::fork(Agent issuer, bool is_async_proxy) {
  Agent agent;
  if (free_.empty()) {
    agent = static_cast<Agent>(agents_.size());
    agents_.emplace_back();
  } else {
    agent = free_.back();
    free_.pop_back();
  }
  AgentState& from = agents_[issuer];
  AgentState& state = agents_[agent];
  start_stretch(state);
  state.first = state.count;
  state.clock = from.clock;
  state.proxy = from.proxy;
  state.reads = from.reads;
  add(state.clock, issuer, from.count);
  state.thread = from.thread;
  state.is_operation = true;
  state.is_async_proxy = is_async_proxy;
  state.has_learnt = from.is_operation;
  start_stretch(from);
  return agent;
}

void Clocks::observe(Agent agent, Agent operation) {
  AgentState& state = agents_[agent];
  AgentState& seen = agents_[operation];
  if (seen.has_learnt || seen.thread != agent) {
    absorb(state.clock, seen.clock);
    absorb(state.proxy, seen.proxy);
    absorb(state.reads, seen.reads);
  }
  add(state.clock, operation, seen.count);
  state.has_learnt = true;
  start_stretch(state);
  start_stretch(seen);
}

void Clocks::end(Agent operation) {
  AgentState& state = agents_[operation];
  state.clock = Clock{};
  state.proxy = Clock{};
  state.reads = Clock{};
  free_.push_back(operation);
}

void Clocks::fence_proxy(Agent agent) {
  AgentState& state = agents_[agent];
  state.proxy = state.clock;
  add(state.proxy, agent, state.count);
  start_stretch(state);
}

}  // namespace atrous::sim::race

#endif
