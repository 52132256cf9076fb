// The pool of stacks that simulated threads run on; reused from block to block and launch to launch.
#pragma once

#include <cstddef>
#include <cstring>
#include <vector>

#include "context.hpp"

namespace atrous::sim {

// A stack whose flow of control runs threads one after another.
struct Worker {
  Context context;
  struct Thread* thread = nullptr;  // the one it runs
};

class Stacks {
 public:
  Stacks() = default;
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;
  ~Stacks();

  // A worker that will call entry(worker) when it is first switched to, or one that was given back.
  Worker* take(ContextEntry entry);
  void give_back(Worker* worker) { free_.push_back(worker); }

  // Drops whatever is suspended, and makes every worker start anew.
  void drop_all(ContextEntry entry);

 private:
  void grow(ContextEntry entry);

  std::vector<unsigned char*> chunks_;
  std::vector<Worker*> all_;
  std::vector<Worker*> free_;
};

inline Worker* Stacks::take(ContextEntry entry) {
  if (free_.empty()) grow(entry);
  Worker* worker = free_.back();
  free_.pop_back();
  return worker;
}

// The bytes just below a stack, which nobody writes who stays on it.
constexpr std::size_t kCanaryBytes = 64;

struct Canary {
  unsigned char bytes[kCanaryBytes] = {};
  constexpr Canary() {
    for (unsigned char& byte : bytes) byte = 0xc5;
  }
};
inline constexpr Canary kCanary;

inline bool is_canary_damaged(const Worker& worker) {
  return std::memcmp(worker.context.stack.low - kCanaryBytes, kCanary.bytes, kCanaryBytes) != 0;
}

// Whether a frame at `address` has left the worker's stack downwards.
inline bool is_below_stack(const Worker& worker, const void* address) {
  return static_cast<const unsigned char*>(address) < worker.context.stack.low;
}

}  // namespace atrous::sim
