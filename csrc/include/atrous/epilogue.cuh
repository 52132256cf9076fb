// What happens to a sum before it is stored: scale, bias, residual, activation, zero point and cast, in this order.
#pragma once

#include "atrous/types.cuh"

namespace atrous {

// The arithmetic of the epilogue: that of the sum; float64 for integer sums, which it holds exactly.
template <class Sum>
struct EpilogueReal {
  using type = Sum;
};
template <>
struct EpilogueReal<int32> {
  using type = float64;
};

__device__ __forceinline__ float32 exponential(float32 value) { return expf(value); }
__device__ __forceinline__ float64 exponential(float64 value) { return exp(value); }
__device__ __forceinline__ float32 hyperbolic_tangent(float32 value) { return tanhf(value); }
__device__ __forceinline__ float64 hyperbolic_tangent(float64 value) { return tanh(value); }
__device__ __forceinline__ float32 complementary_error(float32 value) { return erfcf(value); }
__device__ __forceinline__ float64 complementary_error(float64 value) { return erfc(value); }

// Comparisons with NaN are false, so NaN passes through where fminf and fmaxf would drop it.
template <class Real>
__device__ __forceinline__ Real clamp(Real value, Real low, Real high) {
  const Real raised = value < low ? low : value;
  return raised > high ? high : raised;
}

template <class Real>
__device__ __forceinline__ Real sigmoid(Real value) {
  return Real(1) / (Real(1) + exponential(-value));
}

// A product that no compiler fuses with an addition that follows: the bits of an output do not depend on the code
// around the epilogue.
__device__ __forceinline__ float32 rounded_product(float32 a, float32 b) { return __fmul_rn(a, b); }
__device__ __forceinline__ float64 rounded_product(float64 a, float64 b) { return __dmul_rn(a, b); }

template <int kCount, class Real, class Function>
__device__ __forceinline__ void change_each(Real (&value)[kCount], const Function& function) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) value[i] = function(value[i]);
}

// The same for a long function: its text stands once, and the values pass it by in their registers.
template <int kCount, class Real, class Function>
__device__ __forceinline__ void change_each_at_length(Real (&value)[kCount], const Function& function) {
  if constexpr (kCount == 1) {
    change_each(value, function);
  } else {
#pragma unroll 1
    for (int turn = 0; turn < kCount; ++turn) {
      const Real changed = function(value[0]);
#pragma unroll
      for (int i = 1; i < kCount; ++i) value[i - 1] = value[i];
      value[kCount - 1] = changed;
    }
  }
}

template <int kCount, class Real>
__device__ __forceinline__ void activate(const Epilogue& epilogue, Real (&value)[kCount]) {
  constexpr Real kInverseSqrtTwo = Real(0.70710678118654752440);
  constexpr Real kSqrtTwoOverPi = Real(0.79788456080286535588);
  const Real first = static_cast<Real>(epilogue.activation_a), second = static_cast<Real>(epilogue.activation_b);
  switch (static_cast<Activation>(epilogue.activation)) {
    case Activation::kNone:
      return;
    case Activation::kRelu:
      return change_each(value, [](Real v) { return v < Real(0) ? Real(0) : v; });
    case Activation::kRelu6:
      return change_each(value, [](Real v) { return clamp(v, Real(0), Real(6)); });
    case Activation::kLeakyRelu:
      return change_each(value, [&](Real v) { return v > Real(0) ? v : v * first; });
    case Activation::kSilu:
      return change_each_at_length(value, [](Real v) { return v * sigmoid(v); });
    case Activation::kGelu:
      // 1 + erf(z) = erfc(-z) and 1 + tanh(z) = 2 * sigmoid(2 * z): the right sides keep their digits for negative z.
      return change_each_at_length(value,
                                   [](Real v) { return Real(0.5) * v * complementary_error(-v * kInverseSqrtTwo); });
    case Activation::kGeluTanh:
      return change_each_at_length(
          value, [](Real v) { return v * sigmoid(Real(2) * kSqrtTwoOverPi * (v + Real(0.044715) * v * v * v)); });
    case Activation::kHardswish:
      // The gate first: v * 6 overflows where the output does not.
      return change_each_at_length(value, [](Real v) { return v * (clamp(v + Real(3), Real(0), Real(6)) / Real(6)); });
    case Activation::kSigmoid:
      return change_each_at_length(value, [](Real v) { return sigmoid(v); });
    case Activation::kTanh:
      return change_each_at_length(value, [](Real v) { return hyperbolic_tangent(v); });
    case Activation::kClip:
      return change_each(value, [&](Real v) { return clamp(v, first, second); });
  }
}

template <class Real>
__device__ __forceinline__ Real activate(const Epilogue& epilogue, Real value) {
  Real values[1] = {value};
  activate(epilogue, values);
  return values[0];
}

// From sums to what is cast and stored. terms.scale(term), terms.bias(term) and terms.residual(term) fetch what belongs
// to the kCount outputs, and are called only where the convolution has them.
template <int kCount, class Real, class Terms>
__device__ __forceinline__ void finish_values(const ConvArguments& a, Real (&value)[kCount], const Terms& terms) {
  const Epilogue& epilogue = a.epilogue;
  Real term[kCount];
  if (a.scale != nullptr) {
    terms.scale(term);
#pragma unroll
    for (int i = 0; i < kCount; ++i) value[i] = rounded_product(value[i], term[i]);
  }
  if (a.bias != nullptr) {
    terms.bias(term);
#pragma unroll
    for (int i = 0; i < kCount; ++i) value[i] += term[i];
  }
  if (a.residual != nullptr) {
    terms.residual(term);
#pragma unroll
    for (int i = 0; i < kCount; ++i) value[i] += term[i];
  }
  activate(epilogue, value);
  // A tie is rounded before it moves: 0.5 with zero point 1 is 1, where rounding 1.5 would give 2.
  if (epilogue.y_zero_point != 0) {
    const Real zero_point = static_cast<Real>(epilogue.y_zero_point);
    change_each(value, [&](Real v) { return round_half_even(v) + zero_point; });
  }
}

// The terms of one output.
template <class Real>
struct OutputTerms {
  const ConvArguments& a;
  int k;
  int64 residual_offset;

  __device__ __forceinline__ void scale(Real (&term)[1]) const {
    term[0] = load_real<Real>(a.scale, static_cast<DataType>(a.epilogue.scale_type), k);
  }
  __device__ __forceinline__ void bias(Real (&term)[1]) const {
    term[0] = load_real<Real>(a.bias, static_cast<DataType>(a.epilogue.bias_type), k);
  }
  __device__ __forceinline__ void residual(Real (&term)[1]) const {
    term[0] = load_real<Real>(a.residual, static_cast<DataType>(a.epilogue.y_type), residual_offset);
  }
};

// Stores the output of channel k at y_offset. The residual may be the memory of y itself: it is read here, by the
// thread that then writes that element, and never through the read-only cache.
template <class Sum>
__device__ __forceinline__ void finish_output(const ConvArguments& a, Sum sum, int k, int64 y_offset,
                                              int64 residual_offset) {
  using Real = typename EpilogueReal<Sum>::type;
  Real value[1] = {static_cast<Real>(sum)};
  finish_values(a, value, OutputTerms<Real>{a, k, residual_offset});
  store_real<Real>(a.y, static_cast<DataType>(a.epilogue.y_type), y_offset, value[0]);
}

}  // namespace atrous
