// What the machine does for the models of primitives: collectives, sleep, shared windows, asynchronous operations.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

// ---- who runs

int thread_number();   // of the running thread, in its block
int thread_count();    // of a block
int block_rank();      // of the running block, in its cluster; 0 without one
int cluster_blocks();  // 1 without a cluster

// ---- warps

// Called once, when the last lane has arrived; left: [32], what each lane left, null for a lane outside the mask. The
// lanes stay suspended until it returns, so that whatever they left stays alive. It may fail().
using WarpAction = void (*)(void* const* left);

// Waits until every lane of `mask` has arrived at the same collective of the same name and site, and acts once.
void warp_collective(const char* name, unsigned mask, void* left, WarpAction action, Site site);

// ---- sleeping

// Suspends the running thread until wake(cell); the caller asks again what it waited for. `describe` finishes the
// sentence "threads 0-31 wait ..." of a deadlock, at the time of the deadlock: "for phase 1 of the mbarrier at 0x40".
void sleep_on(const void* cell, std::string (*describe)(const void* cell), Site site);
void wake(const void* cell);

// ---- shared memory of the running cluster

struct SharedPlace {
  int rank;         // the block in the cluster; -1: not shared memory of this cluster
  unsigned offset;  // in bytes, from the start of the block's window, which lies on a multiple of 1024
};

SharedPlace shared_place(const void* pointer);
unsigned char* shared_at(int rank, unsigned offset);

// The same with a failure named after `what` unless all `bytes` lie in one object of the shared memory of one block.
SharedPlace require_shared(const void* pointer, std::size_t bytes, const char* what);

// ---- asynchronous operations

// What hardware does on its own after an instruction has returned. It reads its source at one moment and writes its
// destination at a later one; both run on no thread, and may fail(), which names `name` and `site`.
struct AsyncOperation {
  const char* name;
  Site site;
  std::function<void()> read;
  std::function<void()> write;
};

// It lands by itself: at once (earliest), when no thread can run (latest), or at any yield (random). A block that has
// exited while one still aims at its shared memory, or reads from it, is a failure that names it.
void issue(AsyncOperation operation);

// Groups that an owner commits and waits for; an owner is a thread, or for kMatrix the first thread of a warp. Under
// "latest" an operation reads and writes when a wait demands it, or when its owner exits.
enum class Queue : unsigned char { kCopy, kBulk, kMatrix };

void issue_to(Queue queue, int owner, AsyncOperation operation);
void commit_group(Queue queue, int owner);
// Returns when at most `pending` committed groups have not landed; reads_only: have not read their source.
void wait_groups(Queue queue, int owner, int pending, bool reads_only);

}  // namespace atrous::sim
