// Several neighbouring elements moved by one memory instruction.
#pragma once

#include "atrous/prims/block.cuh"
#include "atrous/types.cuh"

namespace atrous {

template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Vec {
  T value[kCount];
};

__device__ __forceinline__ bool is_aligned(const void* pointer, int bytes) {
  return reinterpret_cast<unsigned long long>(pointer) % bytes == 0;
}

// pointer: [kCount], aligned to kCount elements
template <int kCount, class T>
__device__ __forceinline__ Vec<T, kCount> load_vec(const T* pointer) {
  prims::require_aligned(pointer, sizeof(Vec<T, kCount>));
  return prims::load_whole(reinterpret_cast<const Vec<T, kCount>*>(pointer));
}

// pointer: [kCount], aligned to kCount elements
template <int kCount, class T>
__device__ __forceinline__ void store_vec(T* pointer, const Vec<T, kCount>& vec) {
  prims::require_aligned(pointer, sizeof(Vec<T, kCount>));
  prims::store_whole(reinterpret_cast<Vec<T, kCount>*>(pointer), vec);
}

}  // namespace atrous
