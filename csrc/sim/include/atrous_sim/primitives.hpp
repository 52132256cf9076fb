// What the primitives of atrous/prims call on the host model of the CUDA thread machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace atrous::sim {

// A place in the kernel text.
struct Site {
  const char* file;
  int line;
};

// kNamed: of a model that brings its own action.
enum class Collective : unsigned char { kShuffleXor, kShuffleDown, kShuffleFrom, kBallot, kWarpBarrier, kNamed };

// Waits until every thread of the block has arrived at the same site.
void block_barrier(Site site);

// Waits until every lane of `mask` has arrived at the same collective, and returns the bits that lane `source` left
// there, or its own where there is no such lane; for a ballot, one bit a lane.
std::uint64_t collective(Collective kind, unsigned mask, std::uint64_t bits, int source, Site site);

int lane_id();

// The object of `bytes` bytes that belongs to `key` in the static shared memory of the running block; `function` is the
// signature that spells its type.
void* static_shared(const void* key, std::size_t bytes, std::size_t alignment, const char* function);

// [shared_bytes of the launch], 16-byte aligned
unsigned char* dynamic_shared();

// Ends the launch: the caller of the launch receives the message as an exception.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

inline void require_aligned(const void* pointer, int bytes) {
  if (reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(bytes) != 0)
    fail("an access of %d bytes at %p, which is not a multiple of %d", bytes, pointer, bytes);
}

template <class T>
inline T exchange(Collective kind, unsigned mask, T value, int source, Site site) {
  static_assert(std::is_trivially_copyable<T>::value && (sizeof(T) == 4 || sizeof(T) == 8), "4 or 8 bytes");
  std::uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = collective(kind, mask, bits, source, site);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned ballot(unsigned mask, bool predicate, Site site) {
  return static_cast<unsigned>(collective(Collective::kBallot, mask, predicate, 0, site));
}

inline void warp_barrier(unsigned mask, Site site) { collective(Collective::kWarpBarrier, mask, 0, 0, site); }

}  // namespace atrous::sim
