// The cycle counter of the multiprocessor that a thread runs on.
#pragma once

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

// The model has no time.
inline long long clock_cycles() { return 0; }

#else

// Only differences within one block count.
__device__ __forceinline__ long long clock_cycles() { return clock64(); }

#endif

}  // namespace atrous::prims
