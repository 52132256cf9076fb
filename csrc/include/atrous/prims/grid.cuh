// The order of dependent grids: a launch that may start before the one ahead of it on its stream has ended.
#pragma once

namespace atrous::prims {

#ifdef ATROUS_SIMULATED

// Here a launch starts when the one before it has ended.
inline void wait_for_previous_grid() {}

inline void let_next_grid_start() {}

#else

// Waits until the grid ahead has ended and what it wrote is visible; all reads of its results come after.
__device__ __forceinline__ void wait_for_previous_grid() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// The next grid may start once every block has called this or exited.
__device__ __forceinline__ void let_next_grid_start() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

#endif

}  // namespace atrous::prims
