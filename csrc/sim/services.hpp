// What the machine does for models of primitives: collectives, sleep, shared windows, asynchronous operations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

// Calls marked (yields) let other threads run first where the schedule says so; a model calls them before it changes
// its state, or after. Inside a WarpAction, and on no thread, nothing yields.

// ---- who runs

int thread_number();             // of the running thread, in its block
int thread_count();              // of a block
int block_rank();                // of the running block, in its cluster; 0 without one
int cluster_blocks();            // 1 without a cluster
unsigned warp_mask();            // the lanes that the running thread's warp has: fewer than 32 at the end of a block
std::uint64_t cluster_serial();  // no two clusters share it; a model that keeps state of its own starts anew with it
bool is_exited(int rank);        // whether every thread of that block of the cluster is done

// Has check(rank) run as each block of this cluster exits, on its last thread; it may fail(). Asking twice is once.
void at_block_exit(void (*check)(int rank));

// For a primitive that neither waits nor issues anything. (yields)
void let_others_run();

// ---- warps

// Called once, when the last lane has arrived; left: [32], what each lane left, null for a lane outside the mask. The
// lanes stay suspended until it returns, so that whatever they left stays alive. It may fail().
using WarpAction = void (*)(void* const* left);

// Waits until every lane of `mask` has arrived at the same collective of the same name and site, and acts once. It
// orders no memory accesses. (yields)
void warp_collective(const char* name, unsigned mask, void* left, WarpAction action, Site site);

// ---- sleeping

// Suspends the running thread until wake(cell); the caller asks again what it waited for. `describe` finishes the
// sentence "threads 0-31 wait ..." of a deadlock, at the time of the deadlock: "for phase 1 of the mbarrier at 0x40".
// (yields)
using Describe = std::string (*)(const void* cell);
void sleep_on(const void* cell, Describe describe, Site site);
void wake(const void* cell);

// For an instruction that asks once and returns without success: every other thread that can run goes first, and where
// none can, an operation lands. Threads that only poll are a deadlock in the end: "threads 0-31 poll ...". (yields)
void poll(const void* cell, Describe describe, Site site);

// ---- shared memory of the running cluster

struct SharedPlace {
  int rank;         // the block in the cluster; -1: not shared memory of this cluster
  unsigned offset;  // in bytes, from the start of the block's window, which lies on a multiple of 1024
};

SharedPlace shared_place(const void* pointer);
unsigned char* shared_at(int rank, unsigned offset);

// The same with a failure named after `what` unless all `bytes` lie in one object of the shared memory of one block
// that has not exited.
SharedPlace require_shared(const void* pointer, std::size_t bytes, const char* what);

// ---- asynchronous operations

// What hardware does on its own after an instruction has returned. It reads its source at one moment and writes its
// destination at a later one; both run on no thread, on a small stack, and may fail(), which names `name` and `site`.
// Both may be empty.
struct AsyncOperation {
  const char* name;
  Site site;
  std::function<void()> read;
  std::function<void()> write;
  // Bit r: the shared memory of block r of the cluster, which must not exit before the operation has read from it or
  // landed in it. An operation that leaves these at 0 is never found to outlive a block.
  unsigned reads_blocks = 0;
  unsigned writes_blocks = 0;
};

// It lands by itself: at once (earliest), when no thread can run (latest), or at any yield (random). A block that has
// exited while one still aims at its shared memory, or reads from it, is a failure that names it. (yields)
void issue(AsyncOperation operation);

// Groups that an owner commits and waits for; an owner is a thread of the running block, or for kMatrix the first
// thread of a warp. Under "latest" an operation reads and writes when a wait demands it, or when a thread of the owner
// exits. A thread that exits and has not waited for the reads of its kBulk operations, or all of its warp's of
// kMatrix, is a failure. Only those of kMatrix land in the order of their issue.
enum class Queue : unsigned char { kCopy, kBulk, kMatrix };

void issue_to(Queue queue, int owner, AsyncOperation operation);  // (yields)
void commit_group(Queue queue, int owner);                        // (yields)
// Returns when at most `pending` committed groups have not landed; reads_only: have not read their source. (yields)
void wait_groups(Queue queue, int owner, int pending, bool reads_only);

// As issue(), but it lands after all that `owner` has issued to `queue` until now, committed or not: an arrival that
// follows copies. (yields)
void issue_after(Queue queue, int owner, AsyncOperation operation);

}  // namespace atrous::sim
