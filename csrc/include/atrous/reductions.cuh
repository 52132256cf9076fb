// What pooling does with the cells of a window: one small struct a reduction, each the running state of one output.
//
// start: before any tap. add: one real tap of all the outputs of a thread, taps in row-major order. merge: the state of
// other taps of the same window. across: the state that lane (lane ^ lane_mask) of the warp holds. divisor: of one
// window, the same for every channel. finish: the output. Tap: what a reduction wants to know of a tap beyond the cell,
// made once for all channels.
#pragma once

#include "atrous/prims/packed.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/types.cuh"

namespace atrous {

// The taps first .. first + count - 1 of an axis.
struct TapRange {
  int first;
  int count;
};

// The taps of `range` that are among the `count` from `first` on.
__device__ __forceinline__ TapRange overlap(const TapRange& range, int first, int count) {
  const int end = range.first + range.count;
  const int from = first < range.first ? range.first : first < end ? first : end;
  const int to = first + count < end ? first + count : end;
  return {from, to > from ? to - from : 0};
}

// The taps t of [0, taps) with low <= start + t * dilation < high.
__device__ __forceinline__ TapRange taps_inside(int start, int taps, int dilation, int low, int high) {
  if (start >= low && start + (taps - 1) * dilation < high) return {0, taps};  // no division for inner windows
  const int first = start >= low ? 0 : (low - start - 1) / dilation + 1;  // rounds up, and adds no dilation near 2^31
  const int end = high <= start ? 0 : (high - 1 - start) / dilation + 1;
  return overlap({0, taps}, first, end - first);
}

// One window: the input cell of its first tap, and its real taps, those on cells that exist.
struct Window {
  int start_h, start_w;
  TapRange rows, columns;
  int lane, log_lanes;  // of the lanes that share the window's taps
};

// The IEEE formats, for powers of two and for infinity.
template <class Real>
struct Exponent;
template <>
struct Exponent<float32> {
  using Bits = int32;
  static constexpr int kMantissa = 23, kBias = 127;
};
template <>
struct Exponent<float64> {
  using Bits = int64;
  static constexpr int kMantissa = 52, kBias = 1023;
};

// The number whose exponent field is `field` and whose mantissa is 0: 2^(field - kBias), or infinity for 2 * kBias + 1.
template <class Real>
__device__ __forceinline__ Real from_exponent(typename Exponent<Real>::Bits field) {
  union {
    typename Exponent<Real>::Bits bits;
    Real real;
  } word{field << Exponent<Real>::kMantissa};
  return word.real;
}

// What a maximum starts from: below every value, and, where NaN is omitted, what a window of nothing but NaN gives.
template <class Real>
struct Nothing {
  static __device__ __forceinline__ Real lowest() { return -from_exponent<Real>(2 * Exponent<Real>::kBias + 1); }
  static __device__ __forceinline__ Real omitted() { return lowest() - lowest(); }
};
template <>
struct Nothing<int32> {
  static __device__ __forceinline__ int32 lowest() { return -2147483647 - 1; }
  static __device__ __forceinline__ int32 omitted() { return lowest(); }
};

__device__ __forceinline__ float32 square_root(float32 value) { return sqrtf(value); }
__device__ __forceinline__ float64 square_root(float64 value) { return sqrt(value); }
__device__ __forceinline__ float32 to_power(float32 value, float32 power) { return powf(value, power); }
__device__ __forceinline__ float64 to_power(float64 value, float64 power) { return pow(value, power); }

template <class Real>
__device__ __forceinline__ Real magnitude(Real value) {
  return value < 0 ? -value : value;
}

template <class Real>
__device__ __forceinline__ bool is_finite(Real value) {
  return value - value == 0;
}

// A tap that is nothing but its cell.
struct PlainTap {
  static __device__ __forceinline__ PlainTap of(const PoolArguments&, int, int) { return {}; }
};

// The larger of two, whichever comes first: +0 is above -0, and a NaN stays, as the format's canonical one. Of a number
// and a NaN larger_number takes the number.
__device__ __forceinline__ float32 larger(float32 a, float32 b) {
  return __uint_as_float(prims::packed_max(Element<float32>{}, __float_as_uint(a), __float_as_uint(b)));
}
__device__ __forceinline__ float32 larger_number(float32 a, float32 b) {
  return __uint_as_float(prims::packed_max_number(Element<float32>{}, __float_as_uint(a), __float_as_uint(b)));
}
__device__ __forceinline__ float64 larger(float64 a, float64 b) {
  if (a > b) return a;
  if (b > a) return b;
  if (a == b) return a != 0 ? a : a + b;
  return Nothing<float64>::omitted();
}
__device__ __forceinline__ float64 larger_number(float64 a, float64 b) {
  return a != a ? b : b != b ? a : larger(a, b);
}
__device__ __forceinline__ int32 larger(int32 a, int32 b) { return max(a, b); }
__device__ __forceinline__ int32 larger_number(int32 a, int32 b) { return max(a, b); }

// The largest cell, the same to the bit in any order; omitting NaN, the state is NaN until a number comes.
template <class Real>
struct MaxReduction {
  using Tap = PlainTap;
  Real value;

  __device__ __forceinline__ void start(const PoolArguments& a) {
    value = a.omit_nan ? Nothing<Real>::omitted() : Nothing<Real>::lowest();
  }
  template <int kCount>
  static __device__ __forceinline__ void add(const PoolArguments& a, MaxReduction (&state)[kCount],
                                             const Real (&x)[kCount], const Tap&) {
    if (a.omit_nan) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].value = larger_number(state[i].value, x[i]);
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].value = larger(state[i].value, x[i]);
    }
  }
  __device__ __forceinline__ void merge(const PoolArguments& a, const MaxReduction& other) {
    value = a.omit_nan ? larger_number(value, other.value) : larger(value, other.value);
  }
  __device__ __forceinline__ MaxReduction across(int lane_mask) const { return {prims::shuffle_xor(value, lane_mask)}; }
  static __device__ __forceinline__ Real divisor(const PoolArguments&, const Window&) { return 1; }
  __device__ __forceinline__ Real finish(const PoolArguments&, Real) const { return value; }
};

// The largest cell and the number r * S + s of the first tap whose cell none exceeds, where +0 and -0 are equal; -1
// before any tap.
template <class Real>
struct MaxIndexReduction {
  struct Tap {
    int number;
    static __device__ __forceinline__ Tap of(const PoolArguments& a, int r, int s) { return {r * a.s + s}; }
  };
  Real value;
  int number;

  __device__ __forceinline__ void start(const PoolArguments&) {
    value = Nothing<Real>::lowest();
    number = -1;
  }
  // Whether x comes before y wherever their taps stand; NaN is the largest, or the smallest where it is omitted.
  static __device__ __forceinline__ bool beats(const PoolArguments& a, Real x, Real y) {
    return x > y || (a.omit_nan ? x == x && y != y : x != x && y == y);
  }
  __device__ __forceinline__ void add_one(const PoolArguments& a, Real x, const Tap& tap) {
    if (number >= 0 && !beats(a, x, value)) return;
    value = x;
    number = tap.number;
  }
  template <int kCount>
  static __device__ __forceinline__ void add(const PoolArguments& a, MaxIndexReduction (&state)[kCount],
                                             const Real (&x)[kCount], const Tap& tap) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) state[i].add_one(a, x[i], tap);
  }
  __device__ __forceinline__ void merge(const PoolArguments& a, const MaxIndexReduction& other) {
    if (other.number < 0) return;
    const bool earlier = other.number < number && !beats(a, value, other.value);
    if (number >= 0 && !earlier && !beats(a, other.value, value)) return;
    *this = other;
  }
  __device__ __forceinline__ MaxIndexReduction across(int lane_mask) const {
    return {prims::shuffle_xor(value, lane_mask), prims::shuffle_xor(number, lane_mask)};
  }
  static __device__ __forceinline__ Real divisor(const PoolArguments&, const Window&) { return 1; }
  __device__ __forceinline__ Real finish(const PoolArguments&, Real) const { return value; }
  // h * W + w of the winning tap in the unpadded plane.
  __device__ __forceinline__ int64 plane_offset(const PoolArguments& a, const Window& window) const {
    const int r = number / a.s;
    const int h = window.start_h + r * a.dilation_h;
    const int w = window.start_w + (number - r * a.s) * a.dilation_w;
    return static_cast<int64>(h) * a.w + w;
  }
};

// The sum, over `divisor`, or over the number of taps in the padded extent, or of the real taps.
template <class Real>
struct AverageReduction {
  using Tap = PlainTap;
  Real sum;

  __device__ __forceinline__ void start(const PoolArguments&) { sum = 0; }
  template <int kCount>
  static __device__ __forceinline__ void add(const PoolArguments&, AverageReduction (&state)[kCount],
                                             const Real (&x)[kCount], const Tap&) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) state[i].sum += x[i];
  }
  __device__ __forceinline__ void merge(const PoolArguments&, const AverageReduction& other) { sum += other.sum; }
  __device__ __forceinline__ AverageReduction across(int lane_mask) const {
    return {prims::shuffle_xor(sum, lane_mask)};
  }
  static __device__ __forceinline__ Real divisor(const PoolArguments& a, const Window& window) {
    if (a.divisor != 0) return static_cast<Real>(a.divisor);
    TapRange rows = window.rows, columns = window.columns;
    if (a.count_include_pad) {
      rows = taps_inside(window.start_h, a.r, a.dilation_h, -a.pad_top, a.h + a.pad_bottom);
      columns = taps_inside(window.start_w, a.s, a.dilation_w, -a.pad_left, a.w + a.pad_right);
    }
    return static_cast<Real>(rows.count) * static_cast<Real>(columns.count);
  }
  // A true division: a product with the reciprocal rounds twice.
  __device__ __forceinline__ Real finish(const PoolArguments&, Real divisor) const { return sum / divisor; }
};

// (sum |x|^p)^(1/p), or the root of the mean square. For p = 2 the sum is kept times scale^2, where scale is the power
// of two that brings the largest |x| so far into [1, 2): no square overflows, none that counts vanishes, and integers
// stay exact. For a general p it is kept over scale^p, where scale is the largest |x|: no power exceeds 1. Sums of
// |x| (p = 1) and maxima (p = inf) need no scale.
template <class Real>
struct LpReduction {
  using Tap = PlainTap;
  using Bits = typename Exponent<Real>::Bits;
  Real sum;
  Real scale;

  static __device__ __forceinline__ bool is(const PoolArguments& a, Norm norm) {
    return a.norm == static_cast<int>(norm);
  }
  static __device__ __forceinline__ bool is_squares(const PoolArguments& a) {
    return is(a, Norm::kSquares) || is(a, Norm::kMeanSquare);
  }

  // 2^-e for |x| in [2^e, 2^(e+1)), kept within the normal numbers on both sides.
  static __device__ __forceinline__ Real inverse_power(Real x) {
    constexpr Bits kMost = 2 * Exponent<Real>::kBias - 1;
    union {
      Real real;
      Bits bits;
    } word{x};
    const Bits field = kMost + 1 - (word.bits >> Exponent<Real>::kMantissa);
    return from_exponent<Real>(field < 1 ? 1 : field > kMost ? kMost : field);
  }

  __device__ __forceinline__ void start(const PoolArguments& a) {
    sum = 0;
    scale = is_squares(a) ? inverse_power(Real(0)) : Real(0);
  }
  // One branch a tap, not one a cell.
  template <int kCount>
  static __device__ __forceinline__ void add(const PoolArguments& a, LpReduction (&state)[kCount],
                                             const Real (&x)[kCount], const Tap&) {
    if (is_squares(a)) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].add_square(magnitude(x[i]));
    } else if (is(a, Norm::kSum)) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].sum += magnitude(x[i]);
    } else if (is(a, Norm::kLargest)) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].keep_largest(magnitude(x[i]));
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) state[i].add_power(magnitude(x[i]), static_cast<Real>(a.power));
    }
  }
  __device__ __forceinline__ void keep_largest(Real size) {
    if (size > sum || size != size) sum = size;
  }
  __device__ __forceinline__ void add_square(Real size) {
    if (size * scale >= 2) rescale(inverse_power(size));
    const Real scaled = size * scale;
    sum += scaled * scaled;
  }
  // Scales are powers of two whose inverses are normal numbers, so the factor is exact; where it vanishes, so does the
  // old sum beside the new cell.
  __device__ __forceinline__ void rescale(Real next) {
    const Real factor = next * inverse_power(scale);
    sum = sum * factor * factor;
    scale = next;
  }
  // (size / scale)^power, size <= scale. A power below 1 lifts quotients beneath the normal numbers back to where they
  // count, so there it is taken before dividing: neither size^power nor scale^power overflows.
  static __device__ __forceinline__ Real power_of_ratio(Real size, Real scale, Real power) {
    const Real ratio = size / scale;
    if (power < 1 && ratio < from_exponent<Real>(1)) return to_power(size, power) / to_power(scale, power);
    return to_power(ratio, power);
  }
  __device__ __forceinline__ void add_power(Real size, Real power) {
    if (!is_finite(size) || !is_finite(sum)) {
      sum += size;
    } else if (size > scale) {
      sum = sum * power_of_ratio(scale, size, power) + 1;
      scale = size;
    } else if (size > 0) {
      sum += power_of_ratio(size, scale, power);
    }
  }
  __device__ __forceinline__ void merge(const PoolArguments& a, const LpReduction& other_lane) {
    LpReduction other = other_lane;
    if (is_squares(a)) {
      if (other.scale < scale) rescale(other.scale);
      if (scale < other.scale) other.rescale(scale);
    } else if (is(a, Norm::kLargest)) {
      keep_largest(other.sum);
      return;
    } else if (is(a, Norm::kPower) && is_finite(sum) && is_finite(other.sum) && scale != other.scale) {
      const Real larger = scale > other.scale ? scale : other.scale;
      sum *= power_of_ratio(scale, larger, static_cast<Real>(a.power));
      other.sum *= power_of_ratio(other.scale, larger, static_cast<Real>(a.power));
      scale = larger;
    }
    sum += other.sum;
  }
  __device__ __forceinline__ LpReduction across(int lane_mask) const {
    return {prims::shuffle_xor(sum, lane_mask), prims::shuffle_xor(scale, lane_mask)};
  }
  static __device__ __forceinline__ Real divisor(const PoolArguments& a, const Window& window) {
    return is(a, Norm::kMeanSquare) ? static_cast<Real>(window.rows.count) * static_cast<Real>(window.columns.count)
                                    : Real(1);
  }
  __device__ __forceinline__ Real finish(const PoolArguments& a, Real divisor) const {
    if (is_squares(a)) return square_root(sum / divisor) * inverse_power(scale);
    if (!is(a, Norm::kPower) || !is_finite(sum)) return sum;
    const Real power = static_cast<Real>(a.power);
    const Real root = to_power(sum, 1 / power);
    // The root of a count of taps overflows only for powers near 0, and small cells may still have an output then.
    return is_finite(root) ? scale * root : to_power(to_power(scale, power) * sum, 1 / power);
  }
};

// sum w x over the sum of w, of the real taps or of all.
template <class Real>
struct WeightedReduction {
  struct Tap {
    Real weight;
    static __device__ __forceinline__ Tap of(const PoolArguments& a, int r, int s) {
      return {static_cast<const Real*>(a.tap_weight)[r * a.s + s]};
    }
  };
  Real sum;

  __device__ __forceinline__ void start(const PoolArguments&) { sum = 0; }
  template <int kCount>
  static __device__ __forceinline__ void add(const PoolArguments&, WeightedReduction (&state)[kCount],
                                             const Real (&x)[kCount], const Tap& tap) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) state[i].sum += tap.weight * x[i];
  }
  __device__ __forceinline__ void merge(const PoolArguments&, const WeightedReduction& other) { sum += other.sum; }
  __device__ __forceinline__ WeightedReduction across(int lane_mask) const {
    return {prims::shuffle_xor(sum, lane_mask)};
  }
  // The lanes of the window share the sum as they shared the taps.
  static __device__ __forceinline__ Real divisor(const PoolArguments& a, const Window& window) {
    const TapRange rows = a.normalize_full ? TapRange{0, a.r} : window.rows;
    const TapRange columns = a.normalize_full ? TapRange{0, a.s} : window.columns;
    Real total = 0;
    for (int r = rows.first; r < rows.first + rows.count; ++r) {
      for (int s = columns.first + window.lane; s < columns.first + columns.count; s += 1 << window.log_lanes) {
        total += Tap::of(a, r, s).weight;
      }
    }
    for (int mask = 1; mask < 1 << window.log_lanes; mask *= 2) total += prims::shuffle_xor(total, mask);
    return total;
  }
  __device__ __forceinline__ Real finish(const PoolArguments&, Real divisor) const { return sum / divisor; }
};

}  // namespace atrous
