// The race check of one operating-system thread, and the door for the compiler's hooks.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "race_shadow.hpp"
#include "traffic_state.hpp"

namespace atrous::sim::race {

struct State {
  Clocks clocks;
  Shadow shadow{clocks};
  Agent self = -1;
  int first_block = 0;  // of the cluster
  int threads_of_block = 1;
  std::vector<Site> sites;  // that models have named

  Place place_of(Site site);
  Agent thread_of(Agent agent) const { return clocks[agent].thread; }
  bool is_operation(Agent agent) const { return clocks[agent].is_operation; }
};

// Null until the first launch of this operating-system thread.
extern __thread State* state __attribute__((tls_model("initial-exec")));

// Ends the launch with a description of what the shadow has found.
[[noreturn]] void report(const State& state);
// The same from a hook, which the compiler takes for a call that never throws.
[[noreturn]] void report_from_hook(const State& state);

extern "C" const char __ehdr_start[] __attribute__((visibility("hidden")));  // the linker's: where the extension begins

// An access by the kernels' text; `from`: the instruction behind it.
inline void access(const void* pointer, std::size_t bytes, bool is_write, const void* from) {
  State* const now = state;
  if (now == nullptr || now->self < 0) return;
  if (traffic::counting != nullptr) traffic::count_access(pointer, bytes, is_write, from);
  const auto place = static_cast<Place>(static_cast<const char*>(from) - __ehdr_start);
  if (!now->shadow.access({is_write, now->self, place}, reinterpret_cast<std::uintptr_t>(pointer), bytes))
    report_from_hook(*now);
}

}  // namespace atrous::sim::race
