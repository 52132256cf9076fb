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

// Atomics of C++ are none of a kernel's: test kernels count with them behind the machine's back. They order nothing.
#define ATROUS_ATOMIC_HOOKS(bits, T)                                                                              \
  T __tsan_atomic##bits##_load(const volatile T* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }         \
  void __tsan_atomic##bits##_store(volatile T* p, T value, int) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); } \
  T __tsan_atomic##bits##_exchange(volatile T* p, T value, int) {                                                 \
    return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST);                                                       \
  }                                                                                                               \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T value, int) {                                                \
    return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);                                                        \
  }

extern "C" {

ATROUS_ATOMIC_HOOKS(8, unsigned char)
ATROUS_ATOMIC_HOOKS(16, unsigned short)
ATROUS_ATOMIC_HOOKS(32, unsigned)
ATROUS_ATOMIC_HOOKS(64, unsigned long)
void __tsan_init() {}
void __tsan_vptr_update(void**, void*) {}
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
