// The model of mbarrier: what the primitives of prims/mbarrier.cuh, and copies that report to a barrier, call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

// `barrier` is the object of 8 bytes, in the shared memory of the running block or, for arrivals and transactions, of
// any block of its cluster.
void init_barrier(void* barrier, int count, Site site);
void arrive(void* barrier, Site site);
void arrive_expect(void* barrier, int bytes, Site site);
void expect_bytes(void* barrier, int bytes, Site site);
void arrive_remote(void* barrier, int rank, Site site);
void arrive_remote_after_reads(void* barrier, int rank, Site site);
bool is_complete(void* barrier, int parity, Site site);
void wait(void* barrier, int parity, Site site);
void wait_remote(void* barrier, int parity, Site site);
void invalidate(void* barrier, Site site);

// The asynchronous proxy and other blocks may use what the running thread has initialised: fence.mbarrier_init, or a
// fence of the proxies.
void publish_barriers();

// For asynchronous operations, from the closure that writes: `operation` (a race::Agent) has delivered its bytes.
// It comes before whatever follows a wait for the phase. `bytes` are those of the whole box, zeros filled in too.
void complete_transaction(void* barrier, int bytes, int operation, Site site);

// An arrival on behalf of an asynchronous operation.
void arrive_for(void* barrier, int operation, Site site);

// Fails unless `barrier` is live and belongs to the running block.
void require_own_barrier(const void* barrier, const char* what, Site site);

// For the issue of an operation of the asynchronous proxy: fails unless `barrier`, of any block, is live and published.
void require_barrier(const void* barrier, const char* what, Site site);

}  // namespace atrous::sim
