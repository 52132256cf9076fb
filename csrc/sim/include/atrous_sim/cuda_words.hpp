// Gives the plain words and built-in functions of CUDA C++ a meaning for g++; included ahead of every kernel text.
#pragma once

#include <math.h>
#include <string.h>

#include <cmath>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

namespace atrous::sim {

struct LaunchWords {
  dim3 block_index;
  dim3 block_extent;
  dim3 grid_extent;
};

struct ThreadWords {
  dim3 thread_index;
  const LaunchWords* launch;
};

// The thread that runs now. __thread and initial-exec make it a plain load in a shared library too.
extern __thread const ThreadWords* running __attribute__((tls_model("initial-exec")));

template <class To, class From>
inline To reinterpret_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "a reinterpretation keeps the size");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

}  // namespace atrous::sim

#define threadIdx (::atrous::sim::running->thread_index)
#define blockIdx (::atrous::sim::running->launch->block_index)
#define blockDim (::atrous::sim::running->launch->block_extent)
#define gridDim (::atrous::sim::running->launch->grid_extent)
inline constexpr int warpSize = 32;

inline int min(int a, int b) { return b < a ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline unsigned long min(unsigned long a, unsigned long b) { return b < a ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return b < a ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }

inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }
inline unsigned long max(unsigned long a, unsigned long b) { return a < b ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a < b ? b : a; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dmul_rn(double a, double b) { return a * b; }

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __clz(int bits) { return bits == 0 ? 32 : __builtin_clz(static_cast<unsigned>(bits)); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<unsigned long long>(a) * b) >> 32);
}

// The low word of (high:low) shifted to the right by 0 to 31 bits.
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32) | low) >> (shift & 31));
}

inline int __float_as_int(float x) { return atrous::sim::reinterpret_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return atrous::sim::reinterpret_bits<unsigned>(x); }
inline float __int_as_float(int x) { return atrous::sim::reinterpret_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return atrous::sim::reinterpret_bits<float>(x); }
inline long long __double_as_longlong(double x) { return atrous::sim::reinterpret_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return atrous::sim::reinterpret_bits<double>(x); }

template <class T>
inline T __ldg(const T* pointer) {
  return *pointer;
}
