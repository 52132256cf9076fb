// The model of mbarrier: counts of arrivals and bytes, phases, and a sentence for every use that hardware leaves open.
#include "atrous_sim/mbarrier.hpp"

#include <string>
#include <unordered_map>

#include "race.hpp"
#include "services.hpp"

namespace atrous::sim {

namespace {

constexpr int kLargestCount = (1 << 20) - 1;  // of arrivals a phase, and of bytes either way (PTX ISA, mbarrier)
constexpr std::size_t kBarrierBytes = 8;

// What hardware packs into the eight bytes. It stands beside shared memory, and the eight bytes hold a stamp, so that a
// barrier that was overwritten, or that an earlier block left, is told from a live one.
struct State {
  std::uint64_t stamp;
  SharedPlace place;
  int initialiser;  // thread of the block
  bool published;
  int count;                // arrivals of a phase
  int pending;              // arrivals still to come
  int expected;             // bytes that this phase was told to expect
  int bytes;                // of these, still to come; below zero: more came than were expected
  std::uint64_t phase = 0;  // the current one
  int sleepers = 0;
};

// The live barriers of the running cluster, by their address.
struct Barriers {
  std::uint64_t serial = 0;
  std::unordered_map<const void*, State> states;
};

Barriers& barriers() {
  static thread_local Barriers own;
  const std::uint64_t serial = cluster_serial();
  if (own.serial != serial) {
    own.states.clear();
    own.serial = serial;
  }
  return own;
}

std::string place_of(Site site) {
  const std::string path = site.file;
  return path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

std::string name_of(SharedPlace place) {
  char text[64];
  std::snprintf(text, sizeof text, "the mbarrier at shared offset 0x%x", place.offset);
  return text + (cluster_blocks() > 1 ? " of block " + std::to_string(place.rank) + " of the cluster" : std::string());
}

// "1 of 2 arrivals, 512 of 4096 bytes still to come"
std::string missing_of(const State& state) {
  std::string text = std::to_string(state.pending) + " of " + std::to_string(state.count) + " arrivals";
  if (state.expected != 0 && state.bytes >= 0)
    text += ", " + std::to_string(state.bytes) + " of " + std::to_string(state.expected) + " bytes";
  text += " still to come";
  if (state.bytes < 0) text += ", " + std::to_string(-state.bytes) + " bytes came that nothing expected";
  return text;
}

std::string phase_of(const State& state) {
  return "phase " + std::to_string(state.phase) + " of " + name_of(state.place) + ": " + missing_of(state);
}

std::string describe(const void* cell) {
  const auto found = barriers().states.find(cell);
  return found == barriers().states.end() ? "for an mbarrier that is gone" : "for " + phase_of(found->second);
}

// Each phase has a cell of its own, so that a wait sees the arrivals of its phase and none of the next; and another one
// for arrivals from other blocks whose writes only a wait at the scope of the cluster sees; and one for those from
// other blocks whose writes no wait sees.
enum class Scope : unsigned char { kBlock = 0, kCluster = 2, kReads = 4 };
constexpr Scope kScopes[] = {Scope::kBlock, Scope::kCluster, Scope::kReads};

const void* cell_of(const void* barrier, std::uint64_t phase, Scope scope = Scope::kBlock) {
  return static_cast<const unsigned char*>(barrier) + static_cast<int>(scope) + phase % 2;
}

std::uint64_t stamp_at(const void* barrier) {
  std::uint64_t stamp;
  std::memcpy(&stamp, barrier, sizeof stamp);
  return stamp;
}

SharedPlace require_place(const void* barrier, const char* what, Site site) {
  if (reinterpret_cast<std::uintptr_t>(barrier) % kBarrierBytes != 0)
    fail("%s at %s: the mbarrier at %p does not lie on a multiple of 8 bytes", what, place_of(site).c_str(), barrier);
  if (shared_place(barrier).rank < 0)
    fail("%s at %s: the mbarrier at %p does not lie in shared memory", what, place_of(site).c_str(), barrier);
  return require_shared(barrier, kBarrierBytes, what);
}

// The first thing that a primitive does, so that others may come before it.
SharedPlace require_own_place(const void* barrier, const char* what, Site site) {
  let_others_run();
  const SharedPlace place = require_place(barrier, what, site);
  if (place.rank != block_rank())
    fail("%s at %s: %s belongs to another block; only arrive_remote and asynchronous copies reach it", what,
         place_of(site).c_str(), name_of(place).c_str());
  return place;
}

// The state of a live barrier, or a failure.
State& require_live(const void* barrier, SharedPlace place, const char* what, Site site) {
  if (is_exited(place.rank))
    fail("%s at %s: %s belongs to a block that has exited; expected a cluster barrier ahead of its exit", what,
         place_of(site).c_str(), name_of(place).c_str());
  const auto found = barriers().states.find(barrier);
  if (found == barriers().states.end())
    fail("%s at %s: %s is not initialised", what, place_of(site).c_str(), name_of(place).c_str());
  if (stamp_at(barrier) != found->second.stamp)
    fail("%s at %s: %s was overwritten since it was initialised; its bytes are 0x%016llx", what, place_of(site).c_str(),
         name_of(place).c_str(), static_cast<unsigned long long>(stamp_at(barrier)));
  return found->second;
}

void require_published(const State& state, const char* what, Site site) {
  if (state.published) return;
  fail(
      "%s at %s: %s was initialised by thread %d without a fence_barrier_init() after it, which the asynchronous proxy "
      "and other blocks need",
      what, place_of(site).c_str(), name_of(state.place).c_str(), state.initialiser);
}

void require_parity(int parity, const char* what, Site site) {
  if (parity != 0 && parity != 1)
    fail("%s at %s: the parity is %d; expected 0 or 1", what, place_of(site).c_str(), parity);
}

void begin_next_phase_if_complete(State& state, void* barrier) {
  if (state.pending != 0 || state.bytes != 0) return;
  ++state.phase;
  state.pending = state.count;
  state.expected = 0;
  for (Scope scope : kScopes) race::forget(cell_of(barrier, state.phase, scope));
  wake(barrier);
}

void arrive_on(State& state, void* barrier, race::Agent agent, const char* what, Site site,
               Scope scope = Scope::kBlock) {
  race::read(agent, barrier, kBarrierBytes, site);
  if (state.pending == 0)
    fail("%s at %s: more arrivals than its count in %s", what, place_of(site).c_str(), phase_of(state).c_str());
  const void* const cell = cell_of(barrier, state.phase, scope);
  scope == Scope::kReads ? race::release_reads(cell, agent) : race::release(cell, agent);
  --state.pending;
  begin_next_phase_if_complete(state, barrier);
}

void expect_on(State& state, void* barrier, int bytes, const char* what, Site site) {
  race::read(race::self(), barrier, kBarrierBytes, site);
  if (bytes < 0 || bytes > kLargestCount || state.bytes + bytes > kLargestCount)
    fail("%s at %s: %d bytes more leave the range of -%d to %d in %s", what, place_of(site).c_str(), bytes,
         kLargestCount, kLargestCount, phase_of(state).c_str());
  state.bytes += bytes;
  state.expected += bytes;
}

void arrive_at_rank(void* barrier, int rank, const char* what, Site site, Scope scope) {
  SharedPlace place = require_own_place(barrier, what, site);
  if (rank < 0 || rank >= cluster_blocks())
    fail("%s at %s: block %d of a cluster of %d", what, place_of(site).c_str(), rank, cluster_blocks());
  place.rank = rank;
  void* const remote = shared_at(rank, place.offset);
  State& state = require_live(remote, place, what, site);
  if (rank != block_rank()) require_published(state, what, site);
  arrive_on(state, remote, race::self(), what, site, scope);
}

// What a wait for a phase that has completed sees.
void acquire_phase(const void* barrier, std::uint64_t phase, Scope scope) {
  race::acquire(cell_of(barrier, phase), race::self());
  race::acquire(cell_of(barrier, phase, Scope::kReads), race::self());
  if (scope == Scope::kCluster) race::acquire(cell_of(barrier, phase, scope), race::self());
}

void wait_for_phase(void* barrier, int parity, const char* what, Site site, Scope scope) {
  const SharedPlace place = require_own_place(barrier, what, site);
  require_parity(parity, what, site);
  race::read(race::self(), barrier, kBarrierBytes, site);
  State* state = &require_live(barrier, place, what, site);
  while (static_cast<int>(state->phase % 2) == parity) {
    ++state->sleepers;
    sleep_on(barrier, &describe, site);
    state = &require_live(barrier, place, what, site);
    --state->sleepers;
  }
  acquire_phase(barrier, state->phase - 1, scope);
}

void check_exit(int rank) {
  for (const auto& [barrier, state] : barriers().states) {
    if (state.place.rank != rank) continue;
    if (state.bytes != 0) fail("the block exits with bytes outstanding in %s", phase_of(state).c_str());
    if (stamp_at(barrier) != state.stamp)
      fail("%s was overwritten; expected invalidate() before its bytes serve another use",
           name_of(state.place).c_str());
  }
}

}  // namespace

void init_barrier(void* barrier, int count, Site site) {
  const char* const what = "init_barrier";
  const SharedPlace place = require_own_place(barrier, what, site);
  if (count < 1 || count > kLargestCount)
    fail("%s at %s: a count of %d arrivals; expected 1 to %d", what, place_of(site).c_str(), count, kLargestCount);
  auto& states = barriers().states;
  const auto found = states.find(barrier);
  if (found != states.end())
    fail("%s at %s: %s is live already%s; expected invalidate() before", what, place_of(site).c_str(),
         name_of(place).c_str(),
         stamp_at(barrier) != found->second.stamp ? " and was overwritten"
         : found->second.sleepers > 0             ? " and threads wait for it"
                                                  : "");
  race::write(race::self(), barrier, kBarrierBytes, site);
  const std::uint64_t stamp = 0x6d62617272696572u ^ reinterpret_cast<std::uintptr_t>(barrier) << 16;
  std::memcpy(barrier, &stamp, sizeof stamp);
  states[barrier] = State{stamp, place, thread_number(), false, count, count, 0, 0};
  for (Scope scope : kScopes) {
    for (std::uint64_t phase : {0, 1}) race::forget(cell_of(barrier, phase, scope));
  }
  at_block_exit(&check_exit);
}

void publish_barriers() {
  for (auto& [barrier, state] : barriers().states) {
    if (state.place.rank == block_rank() && state.initialiser == thread_number()) state.published = true;
  }
}

void arrive(void* barrier, Site site) {
  const char* const what = "arrive";
  arrive_on(require_live(barrier, require_own_place(barrier, what, site), what, site), barrier, race::self(), what,
            site);
}

void arrive_expect(void* barrier, int bytes, Site site) {
  const char* const what = "arrive_expect";
  State& state = require_live(barrier, require_own_place(barrier, what, site), what, site);
  expect_on(state, barrier, bytes, what, site);
  arrive_on(state, barrier, race::self(), what, site);
}

void expect_bytes(void* barrier, int bytes, Site site) {
  const char* const what = "expect_bytes";
  expect_on(require_live(barrier, require_own_place(barrier, what, site), what, site), barrier, bytes, what, site);
}

bool is_complete(void* barrier, int parity, Site site) {
  const char* const what = "is_complete";
  const SharedPlace place = require_own_place(barrier, what, site);
  require_parity(parity, what, site);
  race::read(race::self(), barrier, kBarrierBytes, site);
  const auto current = [&] { return require_live(barrier, place, what, site).phase; };
  if (static_cast<int>(current() % 2) == parity) poll(barrier, &describe, site);
  const std::uint64_t phase = current();
  if (static_cast<int>(phase % 2) == parity) return false;
  acquire_phase(barrier, phase - 1, Scope::kBlock);
  return true;
}

void arrive_remote(void* barrier, int rank, Site site) {
  arrive_at_rank(barrier, rank, "arrive_remote", site, rank == block_rank() ? Scope::kBlock : Scope::kCluster);
}

void arrive_remote_after_reads(void* barrier, int rank, Site site) {
  arrive_at_rank(barrier, rank, "arrive_remote_after_reads", site,
                 rank == block_rank() ? Scope::kBlock : Scope::kReads);
}

void wait(void* barrier, int parity, Site site) { wait_for_phase(barrier, parity, "wait", site, Scope::kBlock); }

void wait_remote(void* barrier, int parity, Site site) {
  wait_for_phase(barrier, parity, "wait_remote", site, Scope::kCluster);
}

void invalidate(void* barrier, Site site) {
  const char* const what = "invalidate";
  const State& state = require_live(barrier, require_own_place(barrier, what, site), what, site);
  if (state.sleepers > 0)
    fail("%s at %s: %d threads wait for %s", what, place_of(site).c_str(), state.sleepers, phase_of(state).c_str());
  if (state.bytes != 0)
    fail("%s at %s: bytes are outstanding in %s", what, place_of(site).c_str(), phase_of(state).c_str());
  race::write(race::self(), barrier, kBarrierBytes, site);
  barriers().states.erase(barrier);
}

void complete_transaction(void* barrier, int bytes, int operation, Site site) {
  const char* const what = "the bytes of a copy";
  State& state = require_live(barrier, require_place(barrier, what, site), what, site);
  require_published(state, what, site);
  // Not a race::read: fence_barrier_init publishes the barrier alone to the asynchronous proxy, and
  // require_published has asked for it.
  if (bytes < 0 || bytes > kLargestCount || state.bytes - bytes < -kLargestCount)
    fail("%s at %s: %d delivered bytes leave the range of -%d to %d in %s", what, place_of(site).c_str(), bytes,
         kLargestCount, kLargestCount, phase_of(state).c_str());
  race::release(cell_of(barrier, state.phase), operation);
  state.bytes -= bytes;
  begin_next_phase_if_complete(state, barrier);
}

void arrive_for(void* barrier, int operation, Site site) {
  const char* const what = "arrive_after_copies";
  arrive_on(require_live(barrier, require_place(barrier, what, site), what, site), barrier, operation, what, site);
}

void require_own_barrier(const void* barrier, const char* what, Site site) {
  require_live(barrier, require_own_place(barrier, what, site), what, site);
}

void require_barrier(const void* barrier, const char* what, Site site) {
  require_published(require_live(barrier, require_place(barrier, what, site), what, site), what, site);
  // The issuer must know of the initialisation, in another block too, or the copy may come before it.
  race::read(race::self(), barrier, kBarrierBytes, site);
}

}  // namespace atrous::sim
