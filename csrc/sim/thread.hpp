// A simulated thread, the warp it belongs to, and what either waits for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atrous_sim/cuda_words.hpp"
#include "atrous_sim/primitives.hpp"
#include "stacks.hpp"

namespace atrous::sim {

constexpr int kWarpLanes = 32;

enum class State : unsigned char { kReady, kAtBlockBarrier, kAtCollective, kDone };

struct Thread {
  ThreadWords words;         // what `running` points to; first, so that a pointer to either is a pointer to both
  Worker* worker = nullptr;  // null until it starts, and again when it is done
  int number = 0;
  State state = State::kReady;
  Collective kind = Collective::kWarpBarrier;
  int source = 0;  // lane whose bits a shuffle returns
  unsigned mask = 0;
  std::uint64_t bits = 0;  // left for the other lanes; then the result
  Site site{"", 0};
};

struct Warp {
  unsigned waiting = 0;  // lanes at a collective
};

inline bool operator==(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

// Whether two lanes wait at one and the same collective.
inline bool same_collective(const Thread& a, const Thread& b) {
  return a.kind == b.kind && a.mask == b.mask && a.site == b.site;
}

// "threads 0-31 wait at the block barrier at pool.cuh:90; threads 32-63 have exited"
std::string describe_threads(const std::vector<Thread>& threads);

// Why nothing can run although not every thread is done.
std::string name_deadlock(const std::vector<Thread>& threads);

}  // namespace atrous::sim
