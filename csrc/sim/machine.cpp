// Runs blocks: threads as fibers, their waits, and the one place that ends each wait.
#include "machine.hpp"

#include <utility>

namespace atrous::sim {

__thread const ThreadWords* running = nullptr;
__thread Machine* active = nullptr;

static const char kOverflow[] = "it overflowed its stack of 128 KiB; keep its local arrays small";

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
  const auto narrow = [](const Extent& extent) {
    return dim3{static_cast<unsigned>(extent.x), static_cast<unsigned>(extent.y), static_cast<unsigned>(extent.z)};
  };
  words_.grid_extent = narrow(request.grid);
  words_.block_extent = narrow(request.block);
  prepare_threads();
  adopt_own_stack(launcher_);
  shared_.begin_launch(static_cast<std::size_t>(request.shared_bytes));
  const std::uint64_t columns = words_.grid_extent.x, rows = words_.grid_extent.y;
  const std::uint64_t blocks = columns * rows * words_.grid_extent.z;
  const BlockOrder block_order(schedule, blocks);
  for (std::uint64_t i = 0; i < blocks; ++i) {
    const std::uint64_t block = block_order.block(i);
    words_.block_index = {static_cast<unsigned>(block % columns), static_cast<unsigned>(block / columns % rows),
                          static_cast<unsigned>(block / columns / rows)};
    run_block();
  }
}

void Machine::prepare_threads() {
  const dim3 extent = words_.block_extent;
  const unsigned count = extent.x * extent.y * extent.z;
  threads_.assign(count, Thread{});
  warps_.assign((count + kWarpLanes - 1) / kWarpLanes, Warp{});
  unsigned ring = 1;
  while (ring < count) ring *= 2;
  ready_.assign(ring, nullptr);
  for (unsigned i = 0; i < count; ++i) {
    threads_[i].words.thread_index = {i % extent.x, i / extent.x % extent.y, i / extent.x / extent.y};
    threads_[i].words.launch = &words_;
    threads_[i].number = static_cast<int>(i);
  }
}

void Machine::run_block() {
  shared_.begin_block();
  ready_head_ = ready_count_ = at_barrier_ = done_ = 0;
  const std::size_t count = threads_.size();
  for (std::size_t i = 0; i < count; ++i) {
    threads_[i].state = State::kReady;
    push_ready(&threads_[order_ == Order::kReverse ? count - 1 - i : i]);
  }
  Thread* first = pop_ready();
  Worker* worker = stacks_.take(&Machine::work);
  first->worker = worker;
  worker->thread = first;
  current_ = first;
  running = &first->words;
  switch_context(launcher_, worker->context);
  running = nullptr;
  if (failure_ == nullptr) check_block_memory();
  if (failure_ == nullptr) return;
  // The threads that still wait are dropped where they stand: kernels own nothing that needs destruction.
  stacks_.drop_all(&Machine::work);
  std::rethrow_exception(std::exchange(failure_, nullptr));
}

void Machine::check_block_memory() {
  const std::string damage = shared_.damage();
  if (!damage.empty()) stop(where(nullptr) + damage);
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
      machine.current_ = next;
      running = &next->words;
      continue;
    }
    machine.stacks_.give_back(&worker);
    if (next != nullptr) {
      machine.current_ = next;
      running = &next->words;
    }
    switch_context(worker.context, next != nullptr ? next->worker->context : machine.launcher_);
  }
}

void Machine::run_thread(Thread& thread) {
  try {
    request_->kernel->invoke(request_->kernel->function, request_->parameters);
    if (is_canary_damaged(*thread.worker)) fail(kOverflow);
  } catch (...) {
    failure_ = std::current_exception();
  }
  thread.state = State::kDone;
  thread.worker = nullptr;
  ++done_;
}

void Machine::push_ready(Thread* thread) { ready_[(ready_head_ + ready_count_++) & (ready_.size() - 1)] = thread; }

Thread* Machine::pop_ready() {
  const std::size_t mask = ready_.size() - 1;
  if (order_ == Order::kRandom)
    std::swap(ready_[ready_head_ & mask], ready_[(ready_head_ + random_.below(ready_count_)) & mask]);
  Thread* thread = ready_[ready_head_ & mask];
  ++ready_head_;
  --ready_count_;
  return thread;
}

// The thread that runs next; null when the block is over or can never be.
Thread* Machine::next_thread() {
  if (ready_count_ != 0) return pop_ready();
  if (done_ != threads_.size()) stop(where(nullptr) + name_deadlock(threads_));
  return nullptr;
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
  current_ = next;
  running = &next->words;
  switch_context(own_context, next->worker->context);
}

void Machine::yield_at_random() {
  if (order_ != Order::kRandom || random_.below(2) != 0) return;
  push_ready(current_);
  leave(*current_);
}

void Machine::wait_at_barrier(Site site) {
  yield_at_random();
  Thread& thread = *current_;
  thread.state = State::kAtBlockBarrier;
  thread.site = site;
  if (++at_barrier_ == threads_.size()) release_barrier();
  leave(thread);
}

std::uint64_t Machine::wait_at_collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site) {
  yield_at_random();
  Thread& thread = *current_;
  thread.state = State::kAtCollective;
  thread.kind = kind;
  thread.mask = mask;
  thread.bits = bits;
  thread.source = 0 <= source && source < kWarpLanes ? source : lane();
  thread.site = site;
  const int warp = thread.number / kWarpLanes;
  warps_[warp].waiting |= 1u << thread.number % kWarpLanes;
  if (warps_[warp].waiting == mask) release_warp(warp);
  leave(thread);
  return thread.bits;
}

void Machine::release_barrier() {
  const Site site = threads_[0].site;
  for (const Thread& thread : threads_) {
    if (thread.site == site) continue;
    return stop(where(nullptr) + "divergent barrier: " + describe_threads(threads_));
  }
  at_barrier_ = 0;
  const std::size_t count = threads_.size();
  for (std::size_t i = 0; i < count; ++i) {
    Thread& thread = threads_[order_ == Order::kReverse ? count - 1 - i : i];
    thread.state = State::kReady;
    push_ready(&thread);
  }
}

// Every lane has arrived: the exchange happens here, at once, so that no lane can be overtaken while it reads.
void Machine::release_warp(int warp) {
  Thread* lanes = &threads_[static_cast<std::size_t>(warp) * kWarpLanes];
  const unsigned mask = warps_[warp].waiting;
  std::uint64_t left[kWarpLanes] = {};
  std::uint64_t votes = 0;
  const Thread& first = lanes[__builtin_ctz(mask)];
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((mask >> lane & 1u) == 0) continue;
    if (!same_collective(lanes[lane], first))
      return stop(where(nullptr) + "mismatched warp collectives: " + describe_threads(threads_));
    left[lane] = lanes[lane].bits;
    votes |= (left[lane] & 1u) << lane;
  }
  warps_[warp].waiting = 0;
  for (int i = 0; i < kWarpLanes; ++i) {
    const int lane = order_ == Order::kReverse ? kWarpLanes - 1 - i : i;
    if ((mask >> lane & 1u) == 0) continue;
    Thread& thread = lanes[lane];
    thread.bits = thread.kind == Collective::kBallot ? votes : left[thread.source];
    thread.state = State::kReady;
    push_ready(&thread);
  }
}

void* Machine::static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function) {
  yield_at_random();
  void* object = shared_.static_object(key, bytes, alignment, function);
  if (object == nullptr)
    fail("its " + std::to_string(shared_.static_bytes()) + " bytes of static and " +
         std::to_string(shared_.dynamic_bytes()) + " of dynamic shared memory are more than the " +
         std::to_string(kDefaultSharedBytes) + " that static objects, and the " + std::to_string(shared_.limit()) +
         " that both together may take");
  return object;
}

unsigned char* Machine::dynamic_memory() {
  yield_at_random();
  return shared_.dynamic();
}

std::string Machine::where(const Thread* thread) const {
  const auto text = [](const dim3& index) { return to_string(Extent{index.x, index.y, index.z}); };
  std::string place = std::string("[simulator] ") + request_->kernel->name + ", block " + text(words_.block_index);
  if (thread != nullptr) place += ", thread " + text(thread->words.thread_index);
  return place + ": ";
}

void Machine::stop(const std::string& what) { failure_ = std::make_exception_ptr(SimulatorError(what + ".")); }

void Machine::fail(const std::string& what) const { throw SimulatorError(where(current_) + what + "."); }

}  // namespace atrous::sim
