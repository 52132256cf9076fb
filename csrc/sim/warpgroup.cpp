// The model of named barriers and of setmaxnreg.
#include "atrous_sim/warpgroup.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "race.hpp"
#include "services.hpp"
#include "thread.hpp"

namespace atrous::sim {

namespace {

constexpr int kNamedBarriers = 16;
constexpr int kGroupWarps = 4;  // of a warpgroup
constexpr int kRegisters = 65536;
constexpr int kFewestRegisters = 24;
constexpr int kMostRegisters = 256;

// The hardware counts whole warps: each that arrives adds 32 threads, whether by bar.sync or by bar.arrive.
struct NamedBarrier {
  int id = 0;
  int arrived = 0;
  int expected = 0;    // by the first warp of the phase, at `site`
  unsigned warps = 0;  // that arrived in this phase
  unsigned phase = 0;
  Site site{"", 0};
  std::vector<race::Agent> waiting;
};

struct WarpRegisters {
  int count = 0;    // a thread
  int wanted = 0;   // what it waits for, or 0
  int changes = 0;  // how many setmaxnreg it has executed
  const int* pool = nullptr;
};

struct Change {
  bool is_take;
  int count;
  int warp;
};

struct BlockState {
  NamedBarrier barriers[kNamedBarriers];
  std::vector<WarpRegisters> warps;
  std::vector<std::vector<Change>> changes;  // a warpgroup, in the order in which its first warp makes them
  int pool = 0;                              // registers that nobody has, in units of one for each thread of a warp
};

// What a block gets at its launch, a thread. ptxas decides it for the device, from the launch bounds, and the host
// cannot know; a kernel that moves registers is built to take all that its threads can share, and this is that many:
// the register file over the threads, rounded down to 8 and at most 248. A kernel built with fewer has a smaller pool.
int launch_registers() {
  const int warps = (thread_count() + kWarpLanes - 1) / kWarpLanes;
  return std::min(kRegisters / (warps * kWarpLanes) / 8 * 8, 248);
}

BlockState& state() {
  thread_local std::uint64_t serial = 0;
  thread_local std::vector<BlockState> blocks;
  if (serial != cluster_serial()) {
    serial = cluster_serial();
    blocks.assign(static_cast<std::size_t>(cluster_blocks()), BlockState{});
    const int warps = (thread_count() + kWarpLanes - 1) / kWarpLanes;
    for (BlockState& block : blocks) {
      for (int id = 0; id < kNamedBarriers; ++id) block.barriers[id].id = id;
      block.warps.resize(static_cast<std::size_t>(warps));
      block.changes.resize(static_cast<std::size_t>((warps + kGroupWarps - 1) / kGroupWarps));
      for (WarpRegisters& warp : block.warps) {
        warp.count = launch_registers();
        warp.pool = &block.pool;
      }
    }
  }
  return blocks[static_cast<std::size_t>(block_rank())];
}

// ---- named barriers

struct Arrival {
  const char* name;
  int id;
  int threads;
  bool waits;
  Site site;
  race::Agent agent;
  unsigned phase;  // in which it arrived
};

std::string describe_barrier(const void* cell) {
  const auto& barrier = *static_cast<const NamedBarrier*>(cell);
  return "at named barrier " + std::to_string(barrier.id) + ", where " + std::to_string(barrier.arrived) + " of " +
         std::to_string(barrier.expected) + " threads have arrived,";
}

void complete(NamedBarrier& barrier) {
  for (const race::Agent agent : barrier.waiting) race::acquire(&barrier, agent);
  race::forget(&barrier);
  barrier.waiting.clear();
  barrier.arrived = 0;
  barrier.warps = 0;
  ++barrier.phase;
  wake(&barrier);
}

void arrive_warp(void* const* left) {
  const int warp = thread_number() / kWarpLanes;
  Arrival* const* lanes = reinterpret_cast<Arrival* const*>(left);
  const Arrival& first = *lanes[0];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (lanes[lane] != nullptr && (lanes[lane]->id != first.id || lanes[lane]->threads != first.threads))
      fail(
          "%s%s: lane 0 of warp %d names barrier %d for %d threads, lane %d barrier %d for %d; expected one of both in "
          "a warp",
          first.name, place_of(first.site).c_str(), warp, first.id, first.threads, lane, lanes[lane]->id,
          lanes[lane]->threads);
  }
  NamedBarrier& barrier = state().barriers[first.id];
  if (barrier.arrived == 0) {
    barrier.expected = first.threads;
    barrier.site = first.site;
  }
  if (barrier.expected != first.threads)
    fail("%s%s expects %d threads at named barrier %d, and the warp that came first%s expects %d", first.name,
         place_of(first.site).c_str(), first.threads, first.id, place_of(barrier.site).c_str(), barrier.expected);
  if ((barrier.warps >> warp & 1u) != 0)
    fail("%s%s: warp %d arrives twice at named barrier %d in one phase, of which %d of %d threads have arrived",
         first.name, place_of(first.site).c_str(), warp, first.id, barrier.arrived, barrier.expected);
  barrier.warps |= 1u << warp;
  barrier.arrived += kWarpLanes;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if (lanes[lane] == nullptr) continue;
    lanes[lane]->phase = barrier.phase;
    race::release(&barrier, lanes[lane]->agent);
    if (lanes[lane]->waits) barrier.waiting.push_back(lanes[lane]->agent);
  }
  if (barrier.arrived == barrier.expected) complete(barrier);
}

void arrive_at(const char* name, int id, int threads, bool waits, Site site) {
  const int most = (thread_count() + kWarpLanes - 1) / kWarpLanes * kWarpLanes;
  if (id < 1 || id >= kNamedBarriers)
    fail("%s%s names barrier %d; expected 1 to %d, for 0 is that of sync_block", name, place_of(site).c_str(), id,
         kNamedBarriers - 1);
  if (threads < kWarpLanes || threads > most || threads % kWarpLanes != 0)
    fail("%s%s expects %d threads; expected a multiple of 32 up to the block's %d", name, place_of(site).c_str(),
         threads, most);
  Arrival arrival{name, id, threads, waits, site, race::self(), 0};
  warp_collective(name, warp_mask(), &arrival, &arrive_warp, site);
  NamedBarrier& barrier = state().barriers[id];
  while (waits && barrier.phase == arrival.phase) sleep_on(&barrier, &describe_barrier, site);
}

// ---- registers

struct Demand {
  const char* name;
  bool is_take;
  int count;
  Site site;
};

std::string title(const Change& change) {
  return std::string(change.is_take ? "take_registers<" : "give_registers<") + std::to_string(change.count) + ">";
}

std::string describe_take(const void* cell) {
  const auto& warp = *static_cast<const WarpRegisters*>(cell);
  return "for " + std::to_string(warp.wanted) + " registers a thread, of which they have " +
         std::to_string(warp.count) + " and the block's pool enough for " + std::to_string(*warp.pool) + " more,";
}

// Whoever waits takes what there is, the lowest warp first.
void serve(BlockState& block) {
  for (WarpRegisters& warp : block.warps) {
    if (warp.wanted == 0 || warp.wanted - warp.count > block.pool) continue;
    block.pool -= warp.wanted - warp.count;
    warp.count = warp.wanted;
    warp.wanted = 0;
    wake(&warp);
  }
}

void check_group_at_exit(int) {
  const BlockState& block = state();
  for (std::size_t i = 0; i < block.warps.size(); ++i) {
    const std::vector<Change>& changes = block.changes[i / kGroupWarps];
    const auto done = static_cast<std::size_t>(block.warps[i].changes);
    if (done < changes.size())
      fail("warp %d never executes the %s that warp %d of its warpgroup executed; expected all %d", static_cast<int>(i),
           title(changes[done]).c_str(), changes[done].warp, kGroupWarps);
  }
}

// All warps of a warpgroup execute the same, and none goes on to the next before all have executed this one.
void check_group(BlockState& block, const Change& change, const std::string& what) {
  const int first = change.warp / kGroupWarps * kGroupWarps;
  const int warps = static_cast<int>(block.warps.size());
  if (first + kGroupWarps > warps || thread_count() % (kGroupWarps * kWarpLanes) != 0)
    fail("%s: a block of %d threads is not whole warpgroups; expected a multiple of %d", what.c_str(), thread_count(),
         kGroupWarps * kWarpLanes);
  std::vector<Change>& changes = block.changes[static_cast<std::size_t>(first / kGroupWarps)];
  const int done = block.warps[static_cast<std::size_t>(change.warp)].changes++;
  for (int other = first; other < first + kGroupWarps; ++other) {
    if (block.warps[static_cast<std::size_t>(other)].changes < done)
      fail(
          "%s: warp %d executes it before warp %d has executed the %s before it; expected the warpgroup to synchronise "
          "in between",
          what.c_str(), change.warp, other, title(changes[static_cast<std::size_t>(done - 1)]).c_str());
  }
  if (static_cast<std::size_t>(done) == changes.size()) changes.push_back(change);
  const Change& model = changes[static_cast<std::size_t>(done)];
  if (model.is_take != change.is_take || model.count != change.count)
    fail("%s: warp %d executes it where warp %d of its warpgroup executed %s; expected the same in all %d",
         what.c_str(), change.warp, model.warp, title(model).c_str(), kGroupWarps);
}

void change_registers(void* const* left) {
  const Demand& demand = *static_cast<const Demand*>(left[0]);
  const Change change{demand.is_take, demand.count, thread_number() / kWarpLanes};
  const std::string what = title(change) + place_of(demand.site);
  BlockState& block = state();
  check_group(block, change, what);
  WarpRegisters& warp = block.warps[static_cast<std::size_t>(change.warp)];
  const int count = demand.count;
  if (demand.is_take ? count < warp.count : count > warp.count)
    fail("%s: warp %d has %d registers a thread; expected at %s that many", what.c_str(), change.warp, warp.count,
         demand.is_take ? "least" : "most");
  if (demand.is_take) {
    warp.wanted = count;
  } else {
    block.pool += warp.count - count;
    warp.count = count;
  }
  serve(block);
}

void move_registers(const char* name, bool is_take, int count, Site site) {
  if (count < kFewestRegisters || count > kMostRegisters || count % 8 != 0)
    fail("%s%s asks for %d registers a thread; expected a multiple of 8 from %d to %d", name, place_of(site).c_str(),
         count, kFewestRegisters, kMostRegisters);
  Demand demand{name, is_take, count, site};
  at_block_exit(&check_group_at_exit);
  warp_collective(name, warp_mask(), &demand, &change_registers, site);
  WarpRegisters& warp = state().warps[static_cast<std::size_t>(thread_number() / kWarpLanes)];
  while (warp.wanted != 0) sleep_on(&warp, &describe_take, site);
}

}  // namespace

void sync_named(int id, int threads, Site site) { arrive_at("sync_named", id, threads, true, site); }

void arrive_named(int id, int threads, Site site) { arrive_at("arrive_named", id, threads, false, site); }

void give_registers(int count, Site site) { move_registers("give_registers", false, count, site); }

void take_registers(int count, Site site) { move_registers("take_registers", true, count, site); }

}  // namespace atrous::sim
