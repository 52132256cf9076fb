// Probes of shuffles, ballots, barriers, packed maxima, casts and activations.
#pragma once

#include "atrous/epilogue.cuh"
#include "atrous/prims/block.cuh"
#include "atrous/prims/packed.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/probes/probe.hpp"
#include "atrous/types.cuh"

namespace atrous {

struct ProbeNumbers {
  int64 value[1024];
};

// x: [threads] T, T of 4 or 8 bytes; y: [4, threads] T: shuffle_xor by size[0], shuffle_down by size[1], shuffle_from
// lane size[2], shuffle_from the lane that x names.
template <class T>
__global__ void probe_shuffles(const __grid_constant__ ProbeArguments a) {
  const int me = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const T value = static_cast<const T*>(a.x)[me];
  T* y = static_cast<T*>(a.y);
  y[me] = prims::shuffle_xor(value, a.size[0]);
  y[threads + me] = prims::shuffle_down(value, a.size[1]);
  y[2 * threads + me] = prims::shuffle_from(value, a.size[2]);
  y[3 * threads + me] = prims::shuffle_from(value, static_cast<int>(value) & 31);
}

// x: [threads] int32; y: [threads] uint32: the ballot of x > 0, after lanes above size[0] came by another way.
__global__ void probe_ballot(const __grid_constant__ ProbeArguments a) {
  const int me = static_cast<int>(threadIdx.x);
  int value = static_cast<const int*>(a.x)[me];
  if (prims::lane_id() > a.size[0]) value = -value;
  static_cast<unsigned*>(a.y)[me] = prims::ballot(value > 0);
}

// x: [threads] int64; y: [threads] int64 after `count` rounds, in each of which a thread adds its left neighbour's
// number to its own, through shared memory.
__global__ void probe_rounds(const __grid_constant__ ProbeArguments a) {
  int64* value = prims::shared<ProbeNumbers>().value;
  const int me = static_cast<int>(threadIdx.x);
  value[me] = static_cast<const int64*>(a.x)[me];
  for (int64 i = 0; i < a.count; ++i) {
    prims::sync_block();
    const int64 left = me == 0 ? 0 : value[me - 1];
    prims::sync_block();
    value[me] += left;
  }
  static_cast<int64*>(a.y)[me] = value[me];
}

// x, w: [threads] uint32; y: [2, threads] uint32: packed_max and packed_max_number of the two words, as elements T.
template <class T>
__global__ void probe_packed_max(const __grid_constant__ ProbeArguments a) {
  const int me = static_cast<int>(threadIdx.x);
  const unsigned one = static_cast<const unsigned*>(a.x)[me], other = static_cast<const unsigned*>(a.w)[me];
  unsigned* y = static_cast<unsigned*>(a.y);
  y[me] = prims::packed_max(Element<T>{}, one, other);
  y[static_cast<int>(blockDim.x) + me] = prims::packed_max_number(Element<T>{}, one, other);
}

// y: [count] of DataType size[1] = x: [count] of DataType size[0], by way of Real.
template <class Real>
__global__ void probe_cast(const __grid_constant__ ProbeArguments a) {
  const int64 i = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= a.count) return;
  store_real<Real>(a.y, static_cast<DataType>(a.size[1]), i, load_real<Real>(a.x, static_cast<DataType>(a.size[0]), i));
}

// y: [count] Real: the Activation size[0] of x: [count] Real, with slope or bounds w: [2] float64.
template <class Real>
__global__ void probe_activation(const __grid_constant__ ProbeArguments a) {
  const int64 i = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= a.count) return;
  Epilogue epilogue{};
  epilogue.activation = a.size[0];
  epilogue.activation_a = static_cast<const float64*>(a.w)[0];
  epilogue.activation_b = static_cast<const float64*>(a.w)[1];
  static_cast<Real*>(a.y)[i] = activate(epilogue, static_cast<const Real*>(a.x)[i]);
}

}  // namespace atrous
