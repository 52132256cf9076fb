// The host model of the CUDA thread machine: runs the clusters of a launch one after another, threads as fibers.
#pragma once

#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

#include "flights.hpp"
#include "launch.hpp"
#include "race.hpp"
#include "schedule.hpp"
#include "shared_memory.hpp"
#include "stacks.hpp"
#include "thread.hpp"
#include "traffic.hpp"

namespace atrous::sim {

// One an operating-system thread, so that several may run launches at once.
class Machine {
 public:
  static Machine& own();

  void run(const LaunchRequest& request, Schedule schedule);

  // For the running thread, from the primitives and the services:
  void wait_at_barrier(Site site);
  std::uint64_t wait_at_collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site);
  void wait_at_action(const char* name, unsigned mask, void* left, WarpAction action, Site site);
  void sleep_on(const void* cell, Describe describe, Site site);
  void wake(const void* cell);
  void poll(const void* cell, Describe describe, Site site);
  void yield() {
    if (order_ == Order::kRandom || flights_.is_restless()) yield_at_random();
  }
  void* static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function);
  unsigned char* dynamic_memory();
  void at_block_exit(void (*check)(int rank));
  [[noreturn]] void fail(const std::string& what) const;
  // The same from where the compiler expects no exception: the thread stays where it stands, and the launch ends.
  [[noreturn]] void abandon(const std::string& what);

  const Thread& current() const { return *current_; }
  int block_threads() const { return block_threads_; }
  int cluster_blocks() const { return static_cast<int>(blocks_.size()); }
  bool is_exited(int rank) const { return blocks_[static_cast<std::size_t>(rank)].done == block_count(); }
  std::uint64_t cluster_serial() const { return cluster_serial_; }
  SharedMemory& shared() { return shared_; }
  Flights& flights() { return flights_; }
  // The block that runs: of the operation that lands, or of the running thread.
  const Block& block() const { return *(flights_.acting() != nullptr ? flights_.acting()->issuer : current_->block); }
  race::Agent agent_of(const Thread& thread) const { return static_cast<race::Agent>(&thread - threads_.data()); }

 private:
  void prepare_threads(const Extent& cluster);
  void run_cluster(std::uint64_t cluster, const Extent& extent);
  void finish_cluster();
  void run_fibers();

  static void work(void* worker);
  void run_thread(Thread& thread);
  void leave_block(Thread& thread);
  void retire_block(Block& block);

  // Lets the threads go that waited for the last one to arrive. The only places that end a wait.
  void release_barrier(Block& block);
  void release_warp(Thread* lanes, unsigned mask, WarpAction action);
  void meet(const Thread* lanes, unsigned mask) const;
  void arrive_at_collective(WarpAction action);

  void push_ready(Thread* thread);
  Thread* pop_ready();
  Thread* pop_greedily();
  Thread* next_thread();
  bool land_one();
  void adopt(Thread* thread);
  void leave(Thread& thread);
  void yield_at_random();
  void stop(const std::string& what);
  std::string where(const Block* block, const Thread* thread) const;
  unsigned block_count() const { return static_cast<unsigned>(block_threads_); }
  ThreadList list() const { return {threads_.data(), block_threads_, cluster_blocks()}; }

  const LaunchRequest* request_ = nullptr;
  Order order_ = Order::kInOrder;
  RandomNumbers random_{0};
  int block_threads_ = 0;
  std::uint64_t cluster_serial_ = 0;
  std::uint64_t serial_in_launch_ = 0;

  std::vector<Block> blocks_;    // of the cluster
  std::vector<Thread> threads_;  // of its blocks, one after another
  std::vector<Warp> warps_;
  std::vector<race::Agent> agents_;  // agents_[i] == i, for race::join
  std::vector<Thread*> ready_;       // a ring whose size is a power of two
  unsigned ready_head_ = 0;
  unsigned ready_count_ = 0;
  std::vector<int> warp_order_;  // under kGreedy, the first to run first
  int greedy_warp_ = 0;
  unsigned done_ = 0;
  std::unordered_map<const void*, std::vector<Thread*>> sleepers_;
  std::vector<Thread*> pollers_;
  int idle_rounds_ = 0;  // in which nobody but pollers ran
  bool is_acting_ = false;
  Thread* current_ = nullptr;
  std::exception_ptr failure_;
  std::vector<void (*)(int)> exit_checks_;

  Context launcher_;
  Stacks stacks_;
  SharedMemory shared_;
  Flights flights_;
};

// The machine that runs a launch on this operating-system thread.
extern __thread Machine* active __attribute__((tls_model("initial-exec")));

// What all machines of this process have run.
struct Counters {
  std::uint64_t launches, blocks, threads;
};
Counters counters();

}  // namespace atrous::sim
