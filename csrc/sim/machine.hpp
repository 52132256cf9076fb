// The host model of the CUDA thread machine: runs the blocks of a launch one after another, threads as fibers.
#pragma once

#include <exception>
#include <string>
#include <vector>

#include "launch.hpp"
#include "schedule.hpp"
#include "shared_memory.hpp"
#include "stacks.hpp"
#include "thread.hpp"

namespace atrous::sim {

// One an operating-system thread, so that several may run launches at once.
class Machine {
 public:
  static Machine& own();

  void run(const LaunchRequest& request, Schedule schedule);

  // For the running thread, from the primitives:
  void wait_at_barrier(Site site);
  std::uint64_t wait_at_collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site);
  void* static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function);
  unsigned char* dynamic_memory();
  int lane() const { return current_->number % kWarpLanes; }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  void prepare_threads();
  void run_block();
  void check_block_memory();

  static void work(void* worker);
  void run_thread(Thread& thread);

  // Lets the threads go that waited for the last one to arrive. The only place that ends a wait.
  void release_barrier();
  void release_warp(int warp);

  void push_ready(Thread* thread);
  Thread* pop_ready();
  Thread* next_thread();
  void resume(Thread* next);
  void leave(Thread& thread);
  void yield_at_random();
  void stop(const std::string& what);
  std::string where(const Thread* thread) const;

  const LaunchRequest* request_ = nullptr;
  LaunchWords words_;
  Order order_ = Order::kInOrder;
  RandomNumbers random_{0};

  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Thread*> ready_;  // a ring whose size is a power of two
  unsigned ready_head_ = 0;
  unsigned ready_count_ = 0;
  unsigned at_barrier_ = 0;
  unsigned done_ = 0;
  Thread* current_ = nullptr;
  std::exception_ptr failure_;

  Context launcher_;
  Stacks stacks_;
  SharedMemory shared_;
};

// The machine that runs a launch on this operating-system thread.
extern __thread Machine* active __attribute__((tls_model("initial-exec")));

}  // namespace atrous::sim
