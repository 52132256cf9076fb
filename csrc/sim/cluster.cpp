// The model of the cluster's barrier and of pointers into the shared memory of its other blocks.
#include "atrous_sim/cluster.hpp"

#include <string>
#include <vector>

#include "race.hpp"
#include "services.hpp"
#include "thread.hpp"

namespace atrous::sim {

namespace {

struct Member {
  bool has_arrived = false;  // and has not waited since
  unsigned phase = 0;        // in which it arrived
};

// PTX lets threads that have exited out of the count. Here every thread must arrive: one that exits early takes its
// block's shared memory away from those that still wait to be told that nobody uses it any more.
struct ClusterBarrier {
  std::vector<Member> members;  // every thread of the cluster
  int arrived = 0;
  unsigned phase = 0;
  char orders[2] = {};  // cells of the race check, for even and odd phases
};

ClusterBarrier& barrier() {
  thread_local std::uint64_t serial = 0;
  thread_local ClusterBarrier state;
  if (serial != cluster_serial()) {
    serial = cluster_serial();
    state.members.assign(static_cast<std::size_t>(cluster_blocks() * thread_count()), Member{});
    state.arrived = 0;
    state.phase = 0;
  }
  return state;
}

Member& member() {
  return barrier().members[static_cast<std::size_t>(block_rank() * thread_count() + thread_number())];
}

std::string describe(const void* cell) {
  const auto& state = *static_cast<const ClusterBarrier*>(cell);
  return "at the cluster barrier, where " + std::to_string(state.arrived) + " of " +
         std::to_string(state.members.size()) + " threads have arrived,";
}

}  // namespace

void arrive_cluster(Site site) {
  let_others_run();
  ClusterBarrier& state = barrier();
  Member& own = member();
  if (own.has_arrived)
    fail("arrive_cluster%s comes a second time without a wait_cluster in between", place_of(site).c_str());
  own.has_arrived = true;
  own.phase = state.phase;
  race::release(&state.orders[state.phase % 2], race::self());
  if (++state.arrived < static_cast<int>(state.members.size())) return;
  state.arrived = 0;
  ++state.phase;
  // Every thread has waited for the phase before this one, or it could not have arrived at this.
  race::forget(&state.orders[state.phase % 2]);
  wake(&state);
}

void wait_cluster(Site site) {
  let_others_run();
  ClusterBarrier& state = barrier();
  Member& own = member();
  if (!own.has_arrived) fail("wait_cluster%s comes without an arrive_cluster", place_of(site).c_str());
  while (own.phase == state.phase) sleep_on(&state, &describe, site);
  own.has_arrived = false;
  race::acquire(&state.orders[own.phase % 2], race::self());
}

void* map_shared(const void* pointer, int rank, Site site) {
  const std::string what = "map_shared" + place_of(site);
  if (rank < 0 || rank >= cluster_blocks())
    fail("%s names block %d; expected 0 to %d, a block of the cluster", what.c_str(), rank, cluster_blocks() - 1);
  const SharedPlace place = require_shared(pointer, 1, what.c_str());
  if (place.rank != block_rank())
    fail("%s: %p lies in the shared memory of block %d of the cluster; expected the running block's own", what.c_str(),
         pointer, place.rank);
  if (is_exited(rank)) fail("%s names block %d of the cluster, which has exited", what.c_str(), rank);
  return shared_at(rank, place.offset);
}

}  // namespace atrous::sim
