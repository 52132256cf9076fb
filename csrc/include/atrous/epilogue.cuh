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

template <class Real>
__device__ __forceinline__ Real activate(const Epilogue& epilogue, Real value) {
  constexpr Real kInverseSqrtTwo = Real(0.70710678118654752440);
  constexpr Real kSqrtTwoOverPi = Real(0.79788456080286535588);
  switch (static_cast<Activation>(epilogue.activation)) {
    case Activation::kNone:
      return value;
    case Activation::kRelu:
      return value < Real(0) ? Real(0) : value;
    case Activation::kRelu6:
      return clamp(value, Real(0), Real(6));
    case Activation::kLeakyRelu:
      return value > Real(0) ? value : value * static_cast<Real>(epilogue.activation_a);
    case Activation::kSilu:
      return value * sigmoid(value);
    case Activation::kGelu:
      // 1 + erf(z) = erfc(-z) and 1 + tanh(z) = 2 * sigmoid(2 * z): the right sides keep their digits for negative z.
      return Real(0.5) * value * complementary_error(-value * kInverseSqrtTwo);
    case Activation::kGeluTanh:
      return value * sigmoid(Real(2) * kSqrtTwoOverPi * (value + Real(0.044715) * value * value * value));
    case Activation::kHardswish:
      // The gate first: value * 6 overflows where the output does not.
      return value * (clamp(value + Real(3), Real(0), Real(6)) / Real(6));
    case Activation::kSigmoid:
      return sigmoid(value);
    case Activation::kTanh:
      return hyperbolic_tangent(value);
    case Activation::kClip:
      return clamp(value, static_cast<Real>(epilogue.activation_a), static_cast<Real>(epilogue.activation_b));
  }
  return value;
}

// Stores the output of channel k at y_offset. The residual may be the memory of y itself: it is read here, by the
// thread that then writes that element, and never through the read-only cache.
template <class Sum>
__device__ __forceinline__ void finish_output(const ConvArguments& a, Sum sum, int k, int64 y_offset,
                                              int64 residual_offset) {
  using Real = typename EpilogueReal<Sum>::type;
  const Epilogue& epilogue = a.epilogue;
  const DataType y_type = static_cast<DataType>(epilogue.y_type);
  Real value = static_cast<Real>(sum);
  if (a.scale != nullptr) value *= load_real<Real>(a.scale, static_cast<DataType>(epilogue.scale_type), k);
  if (a.bias != nullptr) value += load_real<Real>(a.bias, static_cast<DataType>(epilogue.bias_type), k);
  if (a.residual != nullptr) value += load_real<Real>(a.residual, y_type, residual_offset);
  value = activate(epilogue, value);
  // A tie is rounded before it moves: 0.5 with zero point 1 is 1, where rounding 1.5 would give 2.
  if (epilogue.y_zero_point != 0) value = round_half_even(value) + static_cast<Real>(epilogue.y_zero_point);
  store_real<Real>(a.y, y_type, y_offset, value);
}

}  // namespace atrous
