// Runs clusters of blocks: threads as fibers, the queue of those that can run, and the end of a block.
#include "machine.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace atrous::sim {

__thread const ThreadWords* running = nullptr;
__thread Machine* active = nullptr;

namespace {

const char kOverflow[] = "it overflowed its stack of 128 KiB; keep its local arrays small";

// Rounds in which nothing happens but polling, before that counts as a deadlock.
constexpr int kMostIdleRounds = 1000;

std::atomic<std::uint64_t> launches_run{0}, blocks_run{0}, threads_run{0};

dim3 narrow(const Extent& extent) {
  return {static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y), static_cast<unsigned>(extent.z)};
}

}  // namespace

Counters counters() { return {launches_run, blocks_run, threads_run}; }

Machine& Machine::own() {
  static thread_local Machine machine;
  return machine;
}

void Machine::run(const LaunchRequest& request, Schedule schedule) {
  check_launch(request);
  active = this;
  request_ = &request;
  order_ = schedule.order;
  random_ = RandomNumbers(schedule.seed);
  const Extent clusters{request.grid.x / request.cluster.x, request.grid.y / request.cluster.y,
                        request.grid.z / request.cluster.z};
  prepare_threads(request.cluster);
  if (order_ == Order::kGreedy) {
    RandomNumbers random(schedule.seed);
    for (std::size_t i = warp_order_.size(); schedule.seed != 0 && i > 1; --i)
      std::swap(warp_order_[i - 1], warp_order_[random.below(static_cast<std::uint32_t>(i))]);
  }
  adopt_own_stack(launcher_);
  shared_.begin_launch(static_cast<std::size_t>(request.shared_bytes), cluster_blocks());
  flights_.begin_launch(schedule, random_);
  const std::vector<std::uint64_t> only = chosen_clusters(request);
  const std::uint64_t count = request.blocks != nullptr
                                  ? only.size()
                                  : static_cast<std::uint64_t>(clusters.x) * static_cast<std::uint64_t>(clusters.y) *
                                        static_cast<std::uint64_t>(clusters.z);
  ++launches_run;
  if (count == 0) return;
  struct RaceLaunch {
    RaceLaunch() { race::begin_launch(); }
    ~RaceLaunch() { race::end_launch(); }
  } race_launch;
  traffic::begin_launch({{request.parameters, request.parameter_bytes},
                         {threads_.data(), threads_.size() * sizeof(Thread)},
                         {blocks_.data(), blocks_.size() * sizeof(Block)},
                         {&running, sizeof running}});
  const Permutation order(schedule, count);
  for (serial_in_launch_ = 0; serial_in_launch_ < count; ++serial_in_launch_) {
    const std::uint64_t i = order[serial_in_launch_];
    run_cluster(request.blocks != nullptr ? only[i] : i, clusters);
  }
}

void Machine::prepare_threads(const Extent& cluster) {
  const dim3 extent = narrow(request_->block);
  block_threads_ = static_cast<int>(extent.x * extent.y * extent.z);
  blocks_.assign(static_cast<std::size_t>(cluster.x * cluster.y * cluster.z), Block{});
  const std::size_t count = blocks_.size() * block_count();
  const int block_warps = (block_threads_ + kWarpLanes - 1) / kWarpLanes;
  threads_.assign(count, Thread{});
  warps_.assign(blocks_.size() * static_cast<std::size_t>(block_warps), Warp{});
  warp_order_.resize(warps_.size());
  for (std::size_t i = 0; i < warps_.size(); ++i) warp_order_[i] = static_cast<int>(i);
  unsigned ring = 1;
  while (ring < count) ring *= 2;
  ready_.assign(ring, nullptr);
  if (race::kEnabled) agents_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    const unsigned number = static_cast<unsigned>(i) % block_count();
    thread.block = &blocks_[i / block_count()];
    thread.words.thread_index = {number % extent.x, number / extent.x % extent.y, number / extent.x / extent.y};
    thread.words.launch = &thread.block->words;
    thread.number = static_cast<int>(number);
    thread.warp = static_cast<int>(i / block_count()) * block_warps + thread.number / kWarpLanes;
    if (race::kEnabled) agents_[i] = static_cast<race::Agent>(i);
  }
  for (std::size_t rank = 0; rank < blocks_.size(); ++rank) {
    blocks_[rank].rank = static_cast<int>(rank);
    blocks_[rank].words.block_extent = extent;
    blocks_[rank].words.grid_extent = narrow(request_->grid);
  }
}

void Machine::run_cluster(std::uint64_t cluster, const Extent& extent) {
  const auto columns = static_cast<std::uint64_t>(extent.x), rows = static_cast<std::uint64_t>(extent.y);
  const dim3 size = narrow(request_->cluster);
  const dim3 at{static_cast<unsigned>(cluster % columns), static_cast<unsigned>(cluster / columns % rows),
                static_cast<unsigned>(cluster / columns / rows)};
  for (Block& block : blocks_) {
    const auto rank = static_cast<unsigned>(block.rank);
    block.words.block_index = {at.x * size.x + rank % size.x, at.y * size.y + rank / size.x % size.y,
                               at.z * size.z + rank / size.x / size.y};
    block.at_barrier = block.done = 0;
  }
  shared_.begin_cluster();
  flights_.begin_cluster(static_cast<int>(threads_.size()));
  race::set_shared(shared_.window(0), shared_.bytes());
  race::begin_cluster(static_cast<int>(threads_.size()), static_cast<int>(cluster * blocks_.size()));
  traffic::begin_cluster(static_cast<int>(blocks_.size()), block_threads_);
  ++cluster_serial_;
  ready_head_ = ready_count_ = done_ = 0;
  greedy_warp_ = warp_order_[0];
  idle_rounds_ = 0;
  is_acting_ = false;
  exit_checks_.clear();
  pollers_.clear();
  if (!sleepers_.empty()) sleepers_.clear();
  for (Warp& warp : warps_) warp = Warp{};
  const std::size_t count = threads_.size();
  for (std::size_t i = 0; i < count; ++i) {
    threads_[i].state = State::kReady;
    threads_[i].worker = nullptr;
    push_ready(&threads_[order_ == Order::kReverse ? count - 1 - i : i]);
  }
  run_fibers();
  if (failure_ == nullptr) finish_cluster();
  traffic::end_cluster();
  race::end_cluster();
  blocks_run += blocks_.size();
  threads_run += count;
  if (failure_ == nullptr) return;
  // The threads that still wait are dropped where they stand: kernels own nothing that needs destruction.
  stacks_.drop_all(&Machine::work);
  flights_.begin_cluster(0);
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Machine::run_fibers() {
  Thread* first = pop_ready();
  Worker* worker = stacks_.take(&Machine::work);
  first->worker = worker;
  worker->thread = first;
  adopt(first);
  switch_context(launcher_, worker->context);
  running = nullptr;
  race::set_self(-1);
}

// What is still in flight lands, and nothing may have written to the memory of a block after its exit.
void Machine::finish_cluster() {
  while (failure_ == nullptr && land_one()) {
  }
  if (blocks_.size() == 1 || failure_ != nullptr) return;
  for (const Block& block : blocks_) {
    const std::string found = shared_.later_write(block.rank);
    if (found.empty()) continue;
    return stop(where(&block, nullptr) +
                "a block of its cluster wrote to its shared memory after it had exited: " + found);
  }
}

// The life of a stack: it runs threads until none is left that has not started, then sleeps until it is given another.
void Machine::work(void* argument) {
  enter_context();
  Worker& worker = *static_cast<Worker*>(argument);
  Machine& machine = *active;
  for (;;) {
    machine.run_thread(*worker.thread);
    Thread* next = machine.failure_ == nullptr ? machine.next_thread() : nullptr;
    if (next != nullptr && next->worker == nullptr) {
      next->worker = &worker;
      worker.thread = next;
      machine.adopt(next);
      continue;
    }
    machine.stacks_.give_back(&worker);
    if (next != nullptr) machine.adopt(next);
    switch_context(worker.context, next != nullptr ? next->worker->context : machine.launcher_);
  }
}

void Machine::run_thread(Thread& thread) {
  try {
    request_->kernel->invoke(request_->kernel->function, request_->parameters);
    if (is_canary_damaged(*thread.worker)) fail(kOverflow);
    leave_block(thread);
  } catch (...) {
    failure_ = std::current_exception();
  }
  thread.worker = nullptr;
}

// The end of a thread, and with the last one, of its block.
void Machine::leave_block(Thread& thread) {
  Block& block = *thread.block;
  if (flights_.is_used()) {
    const int owner = agent_of(thread);
    flights_.drain(flights_.queue_of(Queue::kCopy, owner));
    // Sums may not land in registers that are gone.
    if (const Flight* flight = flights_.unasked(flights_.queue_of(Queue::kMatrix, owner - thread.lane())))
      fail(std::string("it exits and has not waited for the ") + flight->operation.name +
           place_of(flight->operation.site));
    if (const Flight* flight = flights_.unasked(flights_.queue_of(Queue::kBulk, owner)))
      fail(std::string("it exits and has not waited for the reads of the ") + flight->operation.name +
           place_of(flight->operation.site));
    flights_.drain(flights_.queue_of(Queue::kBulk, owner));
  }
  if (block.done + 1 == block_count()) {
    for (auto check : exit_checks_) check(block.rank);
  }
  thread.state = State::kDone;
  ++done_;
  idle_rounds_ = 0;
  if (++block.done == block_count()) retire_block(block);
}

void Machine::retire_block(Block& block) {
  if (const Flight* flight = flights_.bound_to_block(block.rank))
    return stop(where(&block, nullptr) + "it exits while the " + flight->operation.name +
                place_of(flight->operation.site) + " is in flight to or from its shared memory");
  const std::string damage = shared_.damage(block.rank);
  if (!damage.empty()) return stop(where(&block, nullptr) + damage);
  if (blocks_.size() == 1) return;
  shared_.for_each_object([&](const SharedMemory::Object& object) {
    race::retire(block.rank, shared_.window(block.rank) + object.start, object.bytes);
  });
  shared_.retire(block.rank);
}

void Machine::push_ready(Thread* thread) {
  if (order_ == Order::kGreedy)
    warps_[static_cast<std::size_t>(thread->warp)].ready |= 1u << thread->lane();
  else
    ready_[(ready_head_ + ready_count_) & (ready_.size() - 1)] = thread;
  ++ready_count_;
}

Thread* Machine::pop_ready() {
  if (order_ == Order::kGreedy) return pop_greedily();
  const std::size_t mask = ready_.size() - 1;
  if (order_ == Order::kRandom)
    std::swap(ready_[ready_head_ & mask], ready_[(ready_head_ + random_.below(ready_count_)) & mask]);
  Thread* thread = ready_[ready_head_ & mask];
  ++ready_head_;
  --ready_count_;
  return thread;
}

Thread* Machine::pop_greedily() {
  if (warps_[static_cast<std::size_t>(greedy_warp_)].ready == 0) {
    std::size_t i = 0;
    while (warps_[static_cast<std::size_t>(warp_order_[i])].ready == 0) ++i;
    greedy_warp_ = warp_order_[i];
  }
  Warp& warp = warps_[static_cast<std::size_t>(greedy_warp_)];
  const int lane = __builtin_ctz(warp.ready);
  warp.ready &= warp.ready - 1;
  --ready_count_;
  const auto block_warps = static_cast<int>(warps_.size() / blocks_.size());
  const int rank = greedy_warp_ / block_warps;
  return &threads_[static_cast<std::size_t>(rank * block_threads_ + greedy_warp_ % block_warps * kWarpLanes + lane)];
}

// The thread that runs next; null when the cluster is over or can never be.
Thread* Machine::next_thread() {
  while (failure_ == nullptr) {
    if (ready_count_ != 0) return pop_ready();
    if (done_ == threads_.size()) return nullptr;
    const bool has_landed = land_one();
    if (failure_ != nullptr) return nullptr;
    if (has_landed) idle_rounds_ = 0;
    if (!has_landed && (pollers_.empty() || ++idle_rounds_ > kMostIdleRounds)) {
      stop(where(blocks_.size() == 1 ? &blocks_[0] : nullptr, nullptr) + name_deadlock(list()));
      return nullptr;
    }
    for (Thread* thread : pollers_) {
      thread->state = State::kReady;
      push_ready(thread);
    }
    pollers_.clear();
  }
  return nullptr;
}

bool Machine::land_one() {
  try {
    return flights_.land_one();
  } catch (...) {
    failure_ = std::current_exception();
    return false;
  }
}

void Machine::adopt(Thread* thread) {
  current_ = thread;
  running = &thread->words;
  race::set_self(agent_of(*thread));
}

// Suspends `thread`, which waits or is ready, and runs another.
void Machine::leave(Thread& thread) {
  if (is_below_stack(*thread.worker, __builtin_frame_address(0))) fail(kOverflow);
  Thread* next = failure_ == nullptr ? next_thread() : nullptr;
  if (next == &thread) return;
  Context& own_context = thread.worker->context;
  if (next == nullptr) {
    switch_context(own_context, launcher_);
    return;
  }
  if (next->worker == nullptr) {
    next->worker = stacks_.take(&Machine::work);
    next->worker->thread = next;
  }
  adopt(next);
  switch_context(own_context, next->worker->context);
}

void Machine::yield_at_random() {
  if (is_acting_ || flights_.acting() != nullptr) return;
  flights_.advance_at_random();
  if (order_ != Order::kRandom || random_.below(2) != 0) return;
  push_ready(current_);
  leave(*current_);
}

std::string Machine::where(const Block* block, const Thread* thread) const {
  std::string place = std::string("[simulator] ") + request_->kernel->name;
  if (block != nullptr) place += ", block " + describe_index(block->words.block_index);
  if (thread != nullptr) place += ", thread " + describe_index(thread->words.thread_index);
  return place + ": ";
}

void Machine::stop(const std::string& what) { failure_ = std::make_exception_ptr(SimulatorError(what + ".")); }

void Machine::abandon(const std::string& what) {
  try {
    fail(what);
  } catch (...) {
    failure_ = std::current_exception();
  }
  switch_context(current_->worker->context, launcher_);
  __builtin_unreachable();
}

void Machine::fail(const std::string& what) const {
  const Flight* flight = flights_.acting();
  if (flight == nullptr) throw SimulatorError(where(current_->block, current_) + what + ".");
  throw SimulatorError(where(flight->issuer, nullptr) + "the " + flight->operation.name +
                       place_of(flight->operation.site) + " lands: " + what + ".");
}

}  // namespace atrous::sim
