// Window arithmetic of one axis, on host and device: output sizes and where a padded coordinate is read from.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// C++ division truncates, which would give a window larger than its input one output. divisor > 0.
ATROUS_HOST_DEVICE constexpr int64 floor_divide(int64 value, int64 divisor) {
  return value / divisor - (value % divisor < 0);
}

template <class Integer>
ATROUS_HOST_DEVICE constexpr Integer ceil_divide(Integer value, Integer divisor) {
  return (value + divisor - 1) / divisor;
}

// Outputs of a window of `kernel` taps, `dilation` cells apart, on `size` cells with `low` and `high` cells of padding;
// below 1 where no window fits. With ceil_mode the quotient is rounded up, and a last window that would start at or
// beyond size + low is dropped.
ATROUS_HOST_DEVICE constexpr int64 output_size(int64 size, int64 kernel, int64 stride, int64 dilation, int64 low,
                                               int64 high, bool ceil_mode) {
  const int64 room = size + low + high - (dilation * (kernel - 1) + 1);
  const int64 floored = floor_divide(room, stride) + 1;
  if (!ceil_mode || room < 0) return floored;
  const int64 outputs = -floor_divide(-room, stride) + 1;
  return (outputs - 1) * stride >= size + low + (high < 0 ? high : 0) ? outputs - 1 : outputs;
}

// The cell that holds padded coordinate i of an axis of `extent` cells, or -1 where the value is zero. Reflection does
// not repeat the edge. One fold is enough: a problem has at most extent - 1 cells of reflected and extent of circular
// padding.
ATROUS_HOST_DEVICE constexpr int source_coordinate(PaddingMode mode, int i, int extent) {
  if (static_cast<unsigned>(i) < static_cast<unsigned>(extent)) return i;
  switch (mode) {
    case PaddingMode::kZeros:
      return -1;
    case PaddingMode::kReflect:
      return i < 0 ? -i : (extent - 1) - (i - (extent - 1));
    case PaddingMode::kReplicate:
      return i < 0 ? 0 : extent - 1;
    case PaddingMode::kCircular:
      return i < 0 ? i + extent : i - extent;
  }
  return -1;
}

}  // namespace atrous
