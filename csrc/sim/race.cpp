// The calls of the race check, on the state of the calling operating-system thread.
#ifdef ATROUS_SIM_RACE

#include "race.hpp"

#include <cstring>
#include <memory>
#include <numeric>

#include "race_state.hpp"
#include "services.hpp"

namespace atrous::sim::race {

__thread State* state = nullptr;

// On the heap: a library that is loaded late has little room for what belongs to a thread.
static State& own() {
  static thread_local const std::unique_ptr<State> own_state = std::make_unique<State>();
  state = own_state.get();
  return *state;
}

Place State::place_of(Site site) {
  std::size_t i = sites.size();
  while (i > 0 && (sites[i - 1].line != site.line || std::strcmp(sites[i - 1].file, site.file) != 0)) --i;
  if (i == 0) {
    sites.push_back(site);
    i = sites.size();
  }
  return kSite | static_cast<Place>(i - 1);
}

void begin_launch() {
  State& now = own();
  now.self = -1;
  now.shadow.begin_launch();
}

void begin_cluster(int threads, int first_block) {
  state->self = -1;
  state->first_block = first_block;
  state->threads_of_block = thread_count();
  state->clocks.begin(threads, state->threads_of_block);
  state->shadow.begin_cluster(first_block);
}

void end_cluster() { state->self = -1; }
void end_launch() { state->self = -1; }

Agent self() { return state->self; }
void set_self(Agent agent) { state->self = agent; }

void add_stacks(const void* low, std::size_t bytes) {
  own().shadow.add_stacks(reinterpret_cast<std::uintptr_t>(low), bytes);
}

void set_shared(const void* low, std::size_t bytes) {
  own().shadow.set_shared(reinterpret_cast<std::uintptr_t>(low), bytes);
}

void retire(int rank, const void* low, std::size_t bytes) {
  State& now = *state;
  std::vector<Agent> agents(static_cast<std::size_t>(now.threads_of_block));
  std::iota(agents.begin(), agents.end(), rank * now.threads_of_block);
  now.clocks.join(agents.data(), now.threads_of_block);
  if (!now.shadow.retire({agents.front(), agents.back()}, reinterpret_cast<std::uintptr_t>(low), bytes)) report(now);
}

void join(const Agent* agents, int count) { state->clocks.join(agents, count); }
void release(const void* cell, Agent agent) { state->clocks.release(cell, agent); }
void release_reads(const void* cell, Agent agent) { state->clocks.release_reads(cell, agent); }
void acquire(const void* cell, Agent agent) { state->clocks.acquire(cell, agent); }
void forget(const void* cell) { state->clocks.forget(cell); }
Agent fork(Agent issuer, bool is_async_proxy) { return state->clocks.fork(issuer, is_async_proxy); }
void observe(Agent agent, Agent operation) { state->clocks.observe(agent, operation); }
void end(Agent operation) { state->clocks.end(operation); }
void fence_proxy(Agent agent) { state->clocks.fence_proxy(agent); }

static void access_at(Agent agent, const void* pointer, std::size_t bytes, bool is_write, Site site) {
  State& now = *state;
  const Access access{is_write, agent, now.place_of(site)};
  if (!now.shadow.access(access, reinterpret_cast<std::uintptr_t>(pointer), bytes)) report(now);
}

void read(Agent agent, const void* pointer, std::size_t bytes, Site site) {
  access_at(agent, pointer, bytes, false, site);
}

void write(Agent agent, const void* pointer, std::size_t bytes, Site site) {
  access_at(agent, pointer, bytes, true, site);
}

}  // namespace atrous::sim::race

#endif
