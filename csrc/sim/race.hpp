// Who may have seen what: the calls that build the race check's happens-before order; nothing in builds without it.
#pragma once

#include <cstddef>

#include "atrous_sim/primitives.hpp"

namespace atrous::sim::race {

// A flow of accesses with a clock of its own: a thread of the running cluster, or an asynchronous operation. Threads
// are numbered through the cluster: rank * threads of a block + number in the block.
using Agent = int;

#ifdef ATROUS_SIM_RACE

inline constexpr bool kEnabled = true;

void begin_launch();
void begin_cluster(int threads, int first_block);  // of all blocks together; first_block: its number in the grid
void end_cluster();
void end_launch();

Agent self();                // the running thread; -1 while the machine itself runs
void set_self(Agent agent);  // from the machine, at each switch

// Where threads keep what is theirs alone: accesses there are no one else's business. From the pool of stacks, at each
// new chunk, for good.
void add_stacks(const void* low, std::size_t bytes);

// The shared memory of all blocks of the cluster, from the machine ahead of begin_cluster.
void set_shared(const void* low, std::size_t bytes);

// Block `rank` of the cluster has exited: from here on no access to these bytes of its shared memory is right, and none
// that a thread of another block has made may be without an order that puts it first.
void retire(int rank, const void* low, std::size_t bytes);

// Everything that `agents` did comes before everything that they will do: a barrier among them.
void join(const Agent* agents, int count);

// A cell that carries an order from its releasers to its acquirers: an mbarrier's phase. Any address names a cell; one
// for each phase, where releases of the next may come before acquires of the last.
void release(const void* cell, Agent agent);
// Carries that the reads of `agent`, and all that it knows to be over, are over; and none of what threads wrote.
void release_reads(const void* cell, Agent agent);
void acquire(const void* cell, Agent agent);
void forget(const void* cell);

// An asynchronous operation that starts after all that `issuer` did; `is_async_proxy`: it sees a thread's writes to
// shared memory only past a fence of the proxies.
Agent fork(Agent issuer, bool is_async_proxy);
// All that `operation` did comes before what `agent` will do.
void observe(Agent agent, Agent operation);
void end(Agent operation);

// fence.proxy.async by a thread: its own writes and those it has seen are visible to the asynchronous proxy from here
// on.
void fence_proxy(Agent agent);

void read(Agent agent, const void* pointer, std::size_t bytes, Site site);
void write(Agent agent, const void* pointer, std::size_t bytes, Site site);

#else

inline constexpr bool kEnabled = false;

inline void begin_launch() {}
inline void begin_cluster(int, int) {}
inline void end_cluster() {}
inline void end_launch() {}
inline Agent self() { return 0; }
inline void set_self(Agent) {}
inline void add_stacks(const void*, std::size_t) {}
inline void set_shared(const void*, std::size_t) {}
inline void retire(int, const void*, std::size_t) {}
inline void join(const Agent*, int) {}
inline void release(const void*, Agent) {}
inline void release_reads(const void*, Agent) {}
inline void acquire(const void*, Agent) {}
inline void forget(const void*) {}
inline Agent fork(Agent, bool) { return 0; }
inline void observe(Agent, Agent) {}
inline void end(Agent) {}
inline void fence_proxy(Agent) {}
inline void read(Agent, const void*, std::size_t, Site) {}
inline void write(Agent, const void*, std::size_t, Site) {}

#endif

}  // namespace atrous::sim::race
