// What g++ -fsanitize=thread calls at every access of the kernels' text; libtsan stays out.
#ifdef ATROUS_SIM_RACE

#include <cstring>

#include "race_state.hpp"

using atrous::sim::race::access;

#define ATROUS_HOOKS(bytes)                                                                  \
  void __tsan_read##bytes(void* p) { access(p, bytes, false, __builtin_return_address(0)); } \
  void __tsan_write##bytes(void* p) { access(p, bytes, true, __builtin_return_address(0)); }
#define ATROUS_UNALIGNED_HOOKS(bytes)                                                                  \
  void __tsan_unaligned_read##bytes(void* p) { access(p, bytes, false, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* p) { access(p, bytes, true, __builtin_return_address(0)); }

extern "C" {

void __tsan_init() {}
ATROUS_HOOKS(1)
ATROUS_HOOKS(2)
ATROUS_HOOKS(4)
ATROUS_HOOKS(8)
ATROUS_HOOKS(16)
ATROUS_UNALIGNED_HOOKS(2)
ATROUS_UNALIGNED_HOOKS(4)
ATROUS_UNALIGNED_HOOKS(8)
ATROUS_UNALIGNED_HOOKS(16)
void __tsan_read_range(void* p, unsigned long bytes) { access(p, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, unsigned long bytes) { access(p, bytes, true, __builtin_return_address(0)); }

// Calls that the compiler leaves in the kernels' text; objcopy turns them to these.
void* atrous_race_memcpy(void* to, const void* from, std::size_t bytes) {
  access(from, bytes, false, __builtin_return_address(0));
  access(to, bytes, true, __builtin_return_address(0));
  return std::memcpy(to, from, bytes);
}

void* atrous_race_memmove(void* to, const void* from, std::size_t bytes) {
  access(from, bytes, false, __builtin_return_address(0));
  access(to, bytes, true, __builtin_return_address(0));
  return std::memmove(to, from, bytes);
}

void* atrous_race_memset(void* to, int value, std::size_t bytes) {
  access(to, bytes, true, __builtin_return_address(0));
  return std::memset(to, value, bytes);
}

}  // extern "C"

#endif
