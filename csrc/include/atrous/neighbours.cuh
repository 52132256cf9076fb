// Neighbouring outputs of one thread: their residual and their store, in pieces of 16 bytes where memory takes them.
#pragma once

#include "atrous/epilogue.cuh"
#include "atrous/vec.cuh"

namespace atrous {

template <class T, int kCount>
constexpr int kNeighbourPiece = 16 / sizeof(T) < kCount ? 16 / sizeof(T) : kCount;

// Where outputs lie in an array: number i at offset + i * step, of which those from `begin` up to `end` exist.
struct Neighbours {
  int64 offset, step;
  int begin, end;
  bool whole;  // all exist, one after another, aligned to their pieces
};

// Bytes that the first of `count` neighbours is aligned to where they are moved in pieces.
__device__ __forceinline__ int piece_bytes(int element_bytes, int count) { return min(16, count * element_bytes); }

// Whether `count` neighbours along the last axis lie, from element `first` of every pixel on, one after another and
// aligned to their pieces. base: an array of elements of so many bytes, by `stride`
__device__ __forceinline__ bool lie_in_pieces(const void* base, const int64 (&stride)[4], int element_bytes,
                                              int64 first, int count) {
  const int bytes = piece_bytes(element_bytes, count);
  return is_aligned(base, bytes) && stride[3] == 1 && first * element_bytes % bytes == 0 &&
         stride[0] * element_bytes % bytes == 0 && stride[1] * element_bytes % bytes == 0 &&
         stride[2] * element_bytes % bytes == 0;
}

// base: an array whose element type visit_type() hands over
template <class Real, int kCount>
struct LoadNeighbours {
  const void* base;
  const Neighbours& place;
  Real (&value)[kCount];

  template <class T>
  __device__ __forceinline__ void operator()(Element<T>) const {
    constexpr int kPiece = kNeighbourPiece<T, kCount>;
    const T* source = static_cast<const T*>(base) + place.offset;
    if (place.whole) {
#pragma unroll
      for (int first = 0; first < kCount; first += kPiece) {
        const Vec<T, kPiece> piece = load_vec<kPiece>(source + first);
#pragma unroll
        for (int i = 0; i < kPiece; ++i) value[first + i] = to_real<Real>(piece.value[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i)
        value[i] = i >= place.begin && i < place.end ? to_real<Real>(source[i * place.step]) : Real(0);
    }
  }
};

// base: an array whose element type visit_type() hands over
template <class Real, int kCount>
struct StoreNeighbours {
  void* base;
  const Neighbours& place;
  const Real (&value)[kCount];

  template <class T>
  __device__ __forceinline__ void operator()(Element<T> element) const {
    constexpr int kPiece = kNeighbourPiece<T, kCount>;
    T* target = static_cast<T*>(base) + place.offset;
    if (place.whole) {
#pragma unroll
      for (int first = 0; first < kCount; first += kPiece) {
        Vec<T, kPiece> piece;
#pragma unroll
        for (int i = 0; i < kPiece; ++i) piece.value[i] = element.from_real(value[first + i]);
        store_vec(target + first, piece);
      }
    } else {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        if (i >= place.begin && i < place.end) target[i * place.step] = element.from_real(value[i]);
      }
    }
  }
};

}  // namespace atrous
