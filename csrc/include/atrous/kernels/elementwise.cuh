// elementwise: adds two arrays and applies an activation, or moves one array to another layout or dtype; any strides.
//
// Computes  y[i] = activation(x[i] + other[i]), or x[i] where other is null, in Real; rounded once, to y's type.
// Layout    x, other, y: four axes of any element strides, y's smallest last, as the description merged them.
// Mapping   A thread takes 8 neighbours of the last axis where all arrays have them side by side, else one element, and
//           goes on by the threads of the grid. Each element is read by the thread that then writes it, so y may be x
//           or other itself.
// Shared    None.
// Requires  Nothing: addresses that are no multiples of a vector are found here, and elements moved one by one.
// Cost      Reads x and other once, writes y once; where x's neighbours are no neighbours in y, a sector an element.
#pragma once

#include "atrous/epilogue.cuh"
#include "atrous/vec.cuh"

namespace atrous {

constexpr int kElementwiseThreads = 256;
constexpr int kElementwiseWidth = 8;

// Elements of T that one access moves.
template <class T>
constexpr int kElementsOfAccess = sizeof(T) == 1 ? kElementwiseWidth : 16 / static_cast<int>(sizeof(T));

template <class Real>
struct LoadRun {
  const void* base;
  int64 offset;
  Real (&value)[kElementwiseWidth];

  template <class T>
  __device__ __forceinline__ void operator()(Element<T>) const {
    constexpr int kCount = kElementsOfAccess<T>;
#pragma unroll
    for (int first = 0; first < kElementwiseWidth; first += kCount) {
      const Vec<T, kCount> vec = load_vec<kCount>(static_cast<const T*>(base) + offset + first);
#pragma unroll
      for (int i = 0; i < kCount; ++i) value[first + i] = to_real<Real>(vec.value[i]);
    }
  }
};

template <class Real>
struct StoreRun {
  void* base;
  int64 offset;
  const Real (&value)[kElementwiseWidth];

  template <class T>
  __device__ __forceinline__ void operator()(Element<T> element) const {
    constexpr int kCount = kElementsOfAccess<T>;
#pragma unroll
    for (int first = 0; first < kElementwiseWidth; first += kCount) {
      Vec<T, kCount> vec;
#pragma unroll
      for (int i = 0; i < kCount; ++i) vec.value[i] = element.from_real(value[first + i]);
      store_vec(static_cast<T*>(base) + offset + first, vec);
    }
  }
};

// Where one item's elements are.
struct ElementOffsets {
  int64 x, other, y;
  int64 column;  // of the last axis
};

// Count is unsigned where it holds every item, since 64-bit divisions take four times as long.
template <class Count>
__device__ __forceinline__ ElementOffsets offsets_of(const ElementwiseArguments& a, Count item, Count row_items,
                                                     int width) {
  ElementOffsets found = {0, 0, 0, 0};
  int64 digit[4];
  digit[3] = static_cast<int64>(item % row_items) * width;
  Count rest = item / row_items;
#pragma unroll
  for (int axis = 2; axis >= 0; --axis) {
    digit[axis] = static_cast<int64>(rest % static_cast<Count>(a.sizes[axis]));
    rest /= static_cast<Count>(a.sizes[axis]);
  }
#pragma unroll
  for (int axis = 0; axis < 4; ++axis) {
    found.x += digit[axis] * a.x_stride[axis];
    found.other += digit[axis] * a.other_stride[axis];
    found.y += digit[axis] * a.y_stride[axis];
  }
  found.column = digit[3];
  return found;
}

// base: an array of `type`
__device__ __forceinline__ bool begins_a_run(const void* base, DataType type) {
  return is_aligned(base, min(16, kElementwiseWidth * bytes_of(type)));
}

template <class Real>
__device__ __forceinline__ void move_run(const ElementwiseArguments& a, const ElementOffsets& at) {
  const DataType x_type = static_cast<DataType>(a.x_type);
  Real value[kElementwiseWidth];
  visit_type(x_type, LoadRun<Real>{a.x, at.x, value});
  if (a.other != nullptr) {
    Real term[kElementwiseWidth];
    visit_type(x_type, LoadRun<Real>{a.other, at.other, term});
#pragma unroll
    for (int i = 0; i < kElementwiseWidth; ++i) value[i] += term[i];
    activate(a.epilogue, value);
  }
  visit_type(static_cast<DataType>(a.epilogue.y_type), StoreRun<Real>{a.y, at.y, value});
}

template <class Real>
__device__ __forceinline__ void move_element(const ElementwiseArguments& a, int64 x, int64 other, int64 y) {
  const DataType x_type = static_cast<DataType>(a.x_type);
  Real value = load_real<Real>(a.x, x_type, x);
  if (a.other != nullptr) {
    value += load_real<Real>(a.other, x_type, other);
    value = activate(a.epilogue, value);
  }
  store_real<Real>(a.y, static_cast<DataType>(a.epilogue.y_type), y, value);
}

template <class Real>
__global__ void __launch_bounds__(kElementwiseThreads, sizeof(Real) == 8 ? 3 : 4)
    elementwise(const __grid_constant__ ElementwiseArguments a) {
  const DataType x_type = static_cast<DataType>(a.x_type);
  const bool runs = a.x_vectors != 0 && begins_a_run(a.x, x_type) && begins_a_run(a.other, x_type) &&
                    begins_a_run(a.y, static_cast<DataType>(a.epilogue.y_type));
  const int width = runs ? kElementwiseWidth : 1;
  const int64 row_items = (a.sizes[3] + width - 1) / width;
  const int64 items = a.sizes[0] * a.sizes[1] * a.sizes[2] * row_items;
  const int64 step = static_cast<int64>(gridDim.x) * kElementwiseThreads;
  for (int64 item = static_cast<int64>(blockIdx.x) * kElementwiseThreads + threadIdx.x; item < items; item += step) {
    const ElementOffsets at = items <= 0xffffffff ? offsets_of<unsigned>(a, item, row_items, width)
                                                  : offsets_of<unsigned long long>(a, item, row_items, width);
    if (runs && at.column + width <= a.sizes[3]) {
      move_run<Real>(a, at);
      continue;
    }
    for (int i = 0; i < width && at.column + i < a.sizes[3]; ++i) {
      move_element<Real>(a, at.x + i * a.x_stride[3], at.other + i * a.other_stride[3], at.y + i * a.y_stride[3]);
    }
  }
}

}  // namespace atrous
