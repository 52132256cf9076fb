// A simulated thread, the warp and the block that it belongs to, and what each waits for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "atrous_sim/cuda_words.hpp"
#include "atrous_sim/primitives.hpp"
#include "services.hpp"
#include "stacks.hpp"

namespace atrous::sim {

constexpr int kWarpLanes = 32;

enum class State : unsigned char { kReady, kAtBlockBarrier, kAtCollective, kAsleep, kPolling, kDone };

struct Block {
  LaunchWords words;
  int rank = 0;  // in the cluster
  unsigned at_barrier = 0;
  unsigned done = 0;
  std::uint64_t serial = 0;  // in the grid
};

struct Thread {
  ThreadWords words;         // what `running` points to; first, so that a pointer to either is a pointer to both
  Worker* worker = nullptr;  // null until it starts, and again when it is done
  Block* block = nullptr;
  int number = 0;  // in the block
  int warp = 0;    // in the cluster
  State state = State::kReady;
  Collective kind = Collective::kWarpBarrier;
  int source = 0;              // lane whose bits a shuffle returns
  unsigned mask = 0;           // of the collective
  std::uint64_t bits = 0;      // left for the other lanes; then the result
  const char* name = nullptr;  // of a collective of kind kNamed
  void* left = nullptr;        // for its action
  const void* cell = nullptr;  // what it sleeps on, or polls
  std::string (*describe)(const void* cell) = nullptr;
  Site site{"", 0};

  int lane() const { return number % kWarpLanes; }
};

struct Warp {
  unsigned waiting = 0;  // lanes at a collective
  unsigned ready = 0;    // lanes that can run, under Order::kGreedy
};

inline bool operator==(Site a, Site b) { return a.line == b.line && std::strcmp(a.file, b.file) == 0; }

// Whether two lanes wait at one and the same collective.
inline bool same_collective(const Thread& a, const Thread& b) {
  return a.kind == b.kind && a.mask == b.mask && a.site == b.site &&
         (a.kind != Collective::kNamed || std::strcmp(a.name, b.name) == 0);
}

// The live threads, block after block.
struct ThreadList {
  const Thread* first;
  int block_threads;
  int blocks;
};

std::string place_of(Site site);             // " at pool.cuh:90"
std::string describe_index(const dim3& at);  // "(1, 2, 3)"

// "threads 0-31 wait at the block barrier at pool.cuh:90; threads 32-63 have exited"; with more than one block, led by
// "block (0, 0, 0): ".
std::string describe_threads(ThreadList threads);

// Why nothing can run although not every thread is done.
std::string name_deadlock(ThreadList threads);

}  // namespace atrous::sim
