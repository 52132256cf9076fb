// Addresses as PTX takes them; device code only.
#pragma once

namespace atrous::prims {

#ifndef ATROUS_SIMULATED

// The 32-bit address of an object in the shared memory of the running block.
__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

#endif

}  // namespace atrous::prims
