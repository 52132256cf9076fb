// The services that models of primitives call, handed to the machine that runs the calling thread.
#include "services.hpp"

#include <utility>

#include "machine.hpp"

namespace atrous::sim {

int thread_number() { return active->current().number; }

int thread_count() { return active->block_threads(); }

int block_rank() { return active->block().rank; }

int cluster_blocks() { return active->cluster_blocks(); }

unsigned warp_mask() {
  const Thread& thread = active->current();
  const int lanes = active->block_threads() - (thread.number - thread.lane());
  return lanes >= kWarpLanes ? ~0u : (1u << lanes) - 1;
}

std::uint64_t cluster_serial() { return active->cluster_serial(); }

bool is_exited(int rank) { return active->is_exited(rank); }

void let_others_run() { active->yield(); }

void at_block_exit(void (*check)(int rank)) { active->at_block_exit(check); }

void warp_collective(const char* name, unsigned mask, void* left, WarpAction action, Site site) {
  active->wait_at_action(name, mask, left, action, site);
}

void sleep_on(const void* cell, Describe describe, Site site) { active->sleep_on(cell, describe, site); }

void wake(const void* cell) { active->wake(cell); }

void poll(const void* cell, Describe describe, Site site) { active->poll(cell, describe, site); }

SharedPlace shared_place(const void* pointer) {
  const SharedMemory& shared = active->shared();
  const int rank = shared.rank_of(pointer);
  if (rank < 0) return {-1, 0};
  return {rank, static_cast<unsigned>(static_cast<const unsigned char*>(pointer) - shared.window(rank))};
}

unsigned char* shared_at(int rank, unsigned offset) { return active->shared().window(rank) + offset; }

SharedPlace require_shared(const void* pointer, std::size_t bytes, const char* what) {
  const SharedPlace place = shared_place(pointer);
  if (place.rank < 0)
    fail("%s: %p is not in the shared memory of this block or its cluster; expected %zu bytes of it", what, pointer,
         bytes);
  if (is_exited(place.rank))
    fail("%s: %p lies in the shared memory of block %d of the cluster, which has exited", what, pointer, place.rank);
  const SharedMemory& shared = active->shared();
  if (shared.object_at(place.offset, bytes) != nullptr) return place;
  if (const SharedMemory::Object* object = shared.object_at(place.offset, 1))
    fail("%s: %zu bytes at byte %zu of %s leave it", what, bytes, place.offset - object->start,
         SharedMemory::describe(*object).c_str());
  fail("%s: %p lies between the objects of shared memory; expected %zu bytes of one", what, pointer, bytes);
}

namespace {

void require_live_blocks(const AsyncOperation& operation) {
  const unsigned blocks = operation.reads_blocks | operation.writes_blocks;
  for (int rank = 0; blocks >> rank != 0; ++rank) {
    if ((blocks >> rank & 1u) == 0) continue;
    if (rank >= cluster_blocks() || is_exited(rank))
      fail("the %s%s uses the shared memory of block %d of the cluster, which %s", operation.name,
           place_of(operation.site).c_str(), rank, rank >= cluster_blocks() ? "does not exist" : "has exited");
  }
}

int queue_index(Queue queue, int owner) {
  if (owner < 0 || owner >= active->block_threads())
    fail("an owner of asynchronous operations is thread %d; expected one of the block's %d", owner,
         active->block_threads());
  return active->flights().queue_of(queue, active->block().rank * active->block_threads() + owner);
}

}  // namespace

void issue(AsyncOperation operation) {
  active->yield();
  require_live_blocks(operation);
  active->flights().issue(std::move(operation), &active->block());
}

void issue_to(Queue queue, int owner, AsyncOperation operation) {
  active->yield();
  require_live_blocks(operation);
  active->flights().issue_to(queue_index(queue, owner), std::move(operation), &active->block());
}

void commit_group(Queue queue, int owner) {
  active->yield();
  active->flights().commit(queue_index(queue, owner));
}

void wait_groups(Queue queue, int owner, int pending, bool reads_only) {
  active->yield();
  active->flights().wait(queue_index(queue, owner), pending, reads_only);
}

void issue_after(Queue queue, int owner, AsyncOperation operation) {
  active->yield();
  require_live_blocks(operation);
  active->flights().issue(std::move(operation), &active->block(), queue_index(queue, owner));
}

}  // namespace atrous::sim
