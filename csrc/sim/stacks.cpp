// The pool of stacks: chunks of virtual memory, a gap and a canary below each stack.
#include "stacks.hpp"

#include <sys/mman.h>

#include <new>

#include "race.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace atrous::sim {

namespace {

constexpr std::size_t kStackBytes = 128 * 1024;
// An overflow that is smaller than the gap harms nobody before it is named.
constexpr std::size_t kGapBytes = 64 * 1024;
// Stacks a multiple of 4096 bytes apart would share the same few sets of the caches; this staggers them.
constexpr std::size_t kStaggerBytes = 9 * 64;
constexpr std::size_t kStride = kGapBytes + kStackBytes + kStaggerBytes;
constexpr std::size_t kWorkersInChunk = 64;
constexpr std::size_t kChunkBytes = kStride * kWorkersInChunk;

}  // namespace

Stacks::~Stacks() {
  for (Worker* worker : all_) delete worker;
  for (unsigned char* chunk : chunks_) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(chunk, kChunkBytes);
#endif
    munmap(chunk, kChunkBytes);
  }
}

void Stacks::grow(ContextEntry entry) {
  void* memory = mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  race::add_stacks(memory, kChunkBytes);
  chunks_.push_back(static_cast<unsigned char*>(memory));
  for (std::size_t i = kWorkersInChunk; i-- > 0;) {
    unsigned char* low = chunks_.back() + i * kStride + kGapBytes;
    std::memcpy(low - kCanaryBytes, kCanary.bytes, kCanaryBytes);
    all_.push_back(new Worker);
    prepare_context(all_.back()->context, {low, kStackBytes}, entry, all_.back());
    free_.push_back(all_.back());
  }
}

void Stacks::drop_all(ContextEntry entry) {
  free_.clear();
  for (Worker* worker : all_) {
    const Stack stack = worker->context.stack;
    std::memcpy(stack.low - kCanaryBytes, kCanary.bytes, kCanaryBytes);
    prepare_context(worker->context, stack, entry, worker);
    free_.push_back(worker);
  }
}

}  // namespace atrous::sim
