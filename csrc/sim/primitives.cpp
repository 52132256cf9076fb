// The primitives that kernels call, handed to the machine that runs the calling thread.
#include "atrous_sim/primitives.hpp"

#include <cstdarg>
#include <cstdio>

#include "machine.hpp"

namespace atrous::sim {

void block_barrier(Site site) { active->wait_at_barrier(site); }

std::uint64_t collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site) {
  return active->wait_at_collective(kind, mask, bits, source, site);
}

int lane_id() { return active->current().lane(); }

void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* function) {
  return active->static_object(key, bytes, alignment, function);
}

unsigned char* dynamic_shared() { return active->dynamic_memory(); }

void fail(const char* format, ...) {
  char message[512];
  std::va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  active->fail(message);
}

}  // namespace atrous::sim
