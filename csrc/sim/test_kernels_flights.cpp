// Kernels that test asynchronous operations, sleep and polls, on operations that only copy an int.
#include <memory>
#include <string>
#include <utility>

#include "atrous/prims/block.cuh"
#include "atrous/prims/cluster.cuh"
#include "atrous/problem.hpp"
#include "services.hpp"
#include "test_kernels.hpp"

namespace atrous {

namespace {

using sim::Queue;

struct FlightArguments {
  const void* x;
  void* y;
  int64 count;
  int mode;
  int value;
};

struct Cells {
  int value[64];
};

int me() { return static_cast<int>(threadIdx.x); }

std::string describe_cell(const void* cell) { return "for cell " + std::to_string(*static_cast<const int*>(cell)); }

// An operation that copies an int when it lands.
sim::AsyncOperation copy(int* target, const int* source) {
  const auto held = std::make_shared<int>();
  return {"copy",
          {__FILE__, __LINE__},
          [=] { *held = *source; },
          [=] {
            *target = *held;
            sim::wake(target);
          }};
}

void wait_for(int* cell, int value) {
  while (*cell != value) sim::sleep_on(cell, &describe_cell, {__FILE__, __LINE__});
}

// y: [2] int32 = the target right after the issue, and after a wait; y[2]: what landed of a source changed meanwhile
__global__ void test_free_flight(const __grid_constant__ FlightArguments a) {
  int* y = static_cast<int*>(a.y);
  int* cell = prims::shared<Cells>().value;
  cell[0] = 0;
  cell[1] = 5;
  cell[2] = 0;
  sim::issue(copy(&cell[0], &cell[1]));
  sim::issue(copy(&cell[2], &cell[1]));
  prims::dynamic_shared();  // any primitive is a point where an operation may land
  y[0] = cell[0];
  cell[1] = 6;
  while (cell[2] == 0) sim::sleep_on(&cell[2], &describe_cell, {__FILE__, __LINE__});
  while (cell[0] == 0) sim::sleep_on(&cell[0], &describe_cell, {__FILE__, __LINE__});
  y[1] = cell[0];
  y[2] = cell[2];
}

// y: [count] int32 = the numbers of operations in the order in which they landed; y[count] is how many
__global__ void test_flight_order(const __grid_constant__ FlightArguments a) {
  int* y = static_cast<int*>(a.y);
  const int count = static_cast<int>(a.count);
  for (int i = 0; i < count; ++i) {
    sim::AsyncOperation note{"note", {__FILE__, __LINE__}, nullptr, [=] {
                               y[y[count]++] = i;
                               sim::wake(y);
                             }};
    if (a.mode == 0)
      sim::issue(std::move(note));
    else
      sim::issue_to(a.mode == 1 ? Queue::kCopy : Queue::kMatrix, 0, std::move(note));
  }
  if (a.mode != 0) {
    sim::commit_group(a.mode == 1 ? Queue::kCopy : Queue::kMatrix, 0);
    sim::wait_groups(a.mode == 1 ? Queue::kCopy : Queue::kMatrix, 0, 0, false);
  }
  while (y[count] < count) sim::sleep_on(y, &describe_cell, {__FILE__, __LINE__});
}

// y: [4, 4] int32 = four targets, of a group each: at once, after waits for at most 3, 1 and 0 groups; mode: the queue.
// The last group is never committed.
__global__ void test_groups(const __grid_constant__ FlightArguments a) {
  int* y = static_cast<int*>(a.y);
  const auto queue = static_cast<Queue>(a.mode);
  static const int kOne = 1;
  int* cell = prims::shared<Cells>().value;
  for (int i = 0; i < 4; ++i) {
    cell[i] = 0;
    sim::issue_to(queue, 0, copy(&cell[i], &kOne));
    if (i < 3) sim::commit_group(queue, 0);
  }
  const int pending[4] = {4, 3, 1, 0};
  for (int i = 0; i < 4; ++i) {
    if (i > 0) sim::wait_groups(queue, 0, pending[i], false);
    for (int j = 0; j < 4; ++j) y[i * 4 + j] = cell[j];
  }
  sim::commit_group(queue, 0);
  sim::wait_groups(queue, 0, 0, false);
}

// y: [2] int32, by kBulk from shared memory; mode bit 0: waits for the reads before it changes the source, bit 1: waits
// for the landing, bit 2: waits for nothing.
__global__ void test_bulk_store(const __grid_constant__ FlightArguments a) {
  int* y = static_cast<int*>(a.y);
  int* cell = prims::shared<Cells>().value;
  cell[0] = 5;
  sim::issue_to(Queue::kBulk, 0, copy(&y[0], &cell[0]));
  sim::commit_group(Queue::kBulk, 0);
  if ((a.mode & 1) != 0) sim::wait_groups(Queue::kBulk, 0, 0, true);
  cell[0] = 6;
  if ((a.mode & 2) != 0) sim::wait_groups(Queue::kBulk, 0, 0, false);
  y[1] = y[0];
  if (a.mode == 0) sim::wait_groups(Queue::kBulk, 0, 0, true);
}

// y: [3] int32; thread 0 copies x[0] into y[0] by a queue, then asks for an arrival after it, and copies x[1]; thread 1
// waits for the arrival, and finds y[1] of the first copy and y[2] of the second
__global__ void test_arrival_after(const __grid_constant__ FlightArguments a) {
  int* y = static_cast<int*>(a.y);
  const int* x = static_cast<const int*>(a.x);
  int* cell = prims::shared<Cells>().value;
  if (me() == 0) {
    cell[0] = cell[1] = 0;
    sim::issue_to(Queue::kCopy, 0, copy(&y[0], &x[0]));
    sim::issue_after(Queue::kCopy, 0, copy(&cell[0], &x[1]));
    sim::issue_to(Queue::kCopy, 0, copy(&cell[1], &x[1]));
  }
  prims::sync_block();
  if (me() == 1) {
    wait_for(&cell[0], x[1]);
    y[1] = y[0];
    y[2] = cell[1];
  }
  prims::sync_block();
}

// y: [2] int32 = how often thread 1 polled until thread 0, or with mode 1 the first of two operations, had set a cell;
// and what the second operation had done by then
__global__ void test_polls(const __grid_constant__ FlightArguments a) {
  static const int kOne = 1;
  int* cell = prims::shared<Cells>().value;
  cell[0] = 0;
  cell[1] = cell[2] = 0;
  prims::sync_block();
  if (me() == 0) {
    if (a.mode == 1) sim::issue(copy(cell, &kOne));
    if (a.mode == 1) sim::issue(copy(&cell[2], &kOne));
    if (a.mode == 0) cell[0] = 1;
    return;
  }
  int polls = 0;
  for (; *static_cast<volatile int*>(cell) == 0; ++polls) sim::poll(&cell[1], &describe_cell, {__FILE__, __LINE__});
  static_cast<int*>(a.y)[0] = polls;
  static_cast<int*>(a.y)[1] = cell[2];
}

// Operations that use the shared memory of a block that exits: its own, or with mode 2 and 10 that of block 1.
__global__ void test_flight_to_exited(const __grid_constant__ FlightArguments a) {
  static const int kOne = 1;
  int* cell = prims::shared<Cells>().value;
  const bool to_peer = a.mode >= 2;
  const int rank = prims::cluster_rank();
  sim::AsyncOperation operation = copy(to_peer ? prims::map_shared(cell, 1) : cell, &kOne);
  (a.mode == 1 ? operation.reads_blocks : operation.writes_blocks) = to_peer ? 2u : 1u << rank;
  if (a.mode == 2 && rank == 0) sim::issue(operation);
  prims::sync_cluster();
  if (a.mode == 2 || (a.mode == 10 && rank == 1)) return;
  while (a.mode == 10 && !sim::is_exited(1)) sim::poll(cell, &describe_cell, {__FILE__, __LINE__});
  sim::issue(std::move(operation));
}

__global__ void test_flight_mistakes(const __grid_constant__ FlightArguments a) {
  static const int kOne = 1;
  int* cell = prims::shared<Cells>().value;
  sim::AsyncOperation operation = copy(cell, &kOne);
  if (a.mode == 3) operation.write = [] { sim::fail("%d bytes do not add up", 12); };
  if (a.mode == 3) sim::issue(std::move(operation));
  if (a.mode == 4) cell[0] = 3;
  if (a.mode == 4 && me() < 3) sim::sleep_on(cell, &describe_cell, {__FILE__, __LINE__});
  if (a.mode == 5) sim::issue_to(Queue::kCopy, static_cast<int>(blockDim.x), std::move(operation));
  if (a.mode == 6) sim::require_shared(&kOne, 4, "test");
  if (a.mode == 7) sim::require_shared(&cell[63], 8, "test");
  if (a.mode == 8) sim::require_shared(&cell[64], 4, "test");
  if (a.mode == 9) sim::require_shared(&cell[63], 4, "test");
}

// y: [2] int32: operations of a thread that exits without a wait; mode: the queue
__global__ void test_flight_at_exit(const __grid_constant__ FlightArguments a) {
  sim::issue_to(static_cast<Queue>(a.mode), 0, copy(static_cast<int*>(a.y), static_cast<const int*>(a.x)));
}

}  // namespace

void add_test_kernels_flights(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_free_flight),    ATROUS_KERNEL(test_flight_order),    ATROUS_KERNEL(test_groups),
      ATROUS_KERNEL(test_bulk_store),     ATROUS_KERNEL(test_arrival_after),   ATROUS_KERNEL(test_polls),
      ATROUS_KERNEL(test_flight_at_exit), ATROUS_KERNEL(test_flight_mistakes), ATROUS_KERNEL(test_flight_to_exited),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
