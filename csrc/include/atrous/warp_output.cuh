// The way of a warp's mma sums to y: staged in its own shared memory, finished eight at a time, stored in pieces.
//
// A lane of an mma holds pairs of channels of 8 pixels, which no memory likes. So a pass of 512 sums crosses shared
// memory, and each lane takes 8 of them at a time out again, along the axis in which y is contiguous: a run. Runs of
// neighbours, where y takes them in whole pieces; else every 32nd sum, so that the lanes of a warp still write side by
// side. The arithmetic is the same text in all cases, and that of finish_output().
#pragma once

#include "atrous/epilogue.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/vec.cuh"

namespace atrous {

// Offsets of a pixel's channel 0.
struct alignas(16) OutputPlace {
  int64 y, residual;
};

constexpr int kRun = 8;          // outputs that a lane finishes at a time
constexpr int kWarpStage = 512;  // sums of a pass
constexpr int kWarpLanes = 32;

// A pass, and the scale and bias of each column as float64 at most.
template <int M, int N>
constexpr int kWarpStageElements = kWarpStage + 4 * 8 * N;

// Where 8 sums of a pass belong. A pass is 16 or 32 pixels of all columns, channels running fastest, or 8 or 16 columns
// of all pixels, pixels running fastest.
template <int M, int N>
struct WarpRun {
  const ConvArguments& a;
  const OutputPlace* place;  // [16 * M], shared, the first `pixels` in use
  int pixels, first_column, column_end;
  bool along_pixels;
  bool neighbours;  // word + i, not word + 32 * i
  bool y_whole, residual_whole;
  int first_pixel, first_k;  // of the pass
  int word;                  // of the pass

  static constexpr int kPixels = 16 * M, kColumns = 8 * N;

  __device__ __forceinline__ void start_pass(int pass) {
    first_pixel = along_pixels ? 0 : pass * (kWarpStage / kColumns);
    first_k = first_column + (along_pixels ? pass * (kWarpStage / kPixels) : 0);
  }
  __device__ __forceinline__ void start_run(int turn) {
    word = neighbours ? kRun * (prims::lane_id() + kWarpLanes * turn) : prims::lane_id() + kRun * kWarpLanes * turn;
  }

  __device__ __forceinline__ int word_of(int i) const { return word + (neighbours ? i : kWarpLanes * i); }
  __device__ __forceinline__ int pixel(int i) const {
    return along_pixels ? word_of(i) % kPixels : first_pixel + word_of(i) / kColumns;
  }
  __device__ __forceinline__ int k(int i) const {
    return first_k + (along_pixels ? word_of(i) / kPixels : word_of(i) % kColumns);
  }
  __device__ __forceinline__ bool is_inside(int i) const { return pixel(i) < pixels && k(i) < column_end; }
  // Runs of neighbours along channels start at multiples of 8 channels, those along pixels at multiples of 8 pixels.
  __device__ __forceinline__ bool is_whole_inside() const { return is_inside(0) && is_inside(kRun - 1); }

  __device__ __forceinline__ int64 y_offset(int i) const { return place[pixel(i)].y + k(i) * a.y_stride[3]; }
  __device__ __forceinline__ int64 residual_offset(int i) const {
    return place[pixel(i)].residual + k(i) * a.residual_stride[3];
  }
};

// The place in the stage of a word of the pass: pieces of 4 words change places within 128 bytes, so that neither the
// pairs of an mma nor the runs of 8 meet in a bank. spread: log2 of the lines of 32 words between what one instruction
// writes.
__device__ __forceinline__ int staged(int word, int spread) {
  const int line = word / 32;
  return word ^ ((line >> spread) % 4 * 8 + line % 2 * 4);
}

template <int M, int N>
__device__ __forceinline__ int stage_spread(bool along_pixels) {
  return !along_pixels ? 0 : M == 4 ? 2 : 1;
}

// sum: as mma leaves it; stage: [kWarpStageElements], shared
template <int M, int N, class Sum>
__device__ __forceinline__ void stage_sums(const Sum (&sum)[M][N][4], Sum* stage, int pass, bool along_pixels) {
  constexpr int kPixels = 16 * M, kColumns = 8 * N, kPassTiles = kWarpStage / 128;
  const int lane = prims::lane_id(), spread = stage_spread<M, N>(along_pixels);
  const int row = lane / 4, pair = 2 * (lane % 4);
#pragma unroll
  for (int i = 0; i < M; ++i) {
    if (!along_pixels && i / (kPassTiles / N) != pass) continue;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      if (along_pixels && j / (kPassTiles / M) != pass) continue;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const Sum first = sum[i][j][2 * half], second = sum[i][j][2 * half + 1];
        if (along_pixels) {
          const int word = (8 * (j % (kPassTiles / M)) + pair) * kPixels + 16 * i + 8 * half + row;
          stage[staged(word, spread)] = first;
          stage[staged(word + kPixels, spread)] = second;
        } else {
          const int word = (16 * (i % (kPassTiles / N)) + 8 * half + row) * kColumns + 8 * j + pair;
          store_vec(stage + staged(word, spread), Vec<Sum, 2>{first, second});
        }
      }
    }
  }
}

template <int M, int N, class Sum>
__device__ __forceinline__ void take_run(const WarpRun<M, N>& run, const Sum* stage, Sum (&sum)[kRun]) {
  const int spread = stage_spread<M, N>(run.along_pixels);
  if (run.neighbours) {
#pragma unroll
    for (int first = 0; first < kRun; first += 4) {
      const Vec<Sum, 4> piece = load_vec<4>(stage + staged(run.word + first, spread));
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[first + i] = piece.value[i];
    }
  } else {
#pragma unroll
    for (int i = 0; i < kRun; ++i) sum[i] = stage[staged(run.word + kWarpLanes * i, spread)];
  }
}

template <class T>
constexpr int kRunPiece = 16 / sizeof(T) < kRun ? 16 / sizeof(T) : kRun;

// y: the array; run: where in it
template <int M, int N, class T>
__device__ __forceinline__ void store_run(const WarpRun<M, N>& run, T* y, const T (&value)[kRun]) {
  constexpr int kPiece = kRunPiece<T>;
  if (run.y_whole && run.is_whole_inside()) {
    T* target = y + run.y_offset(0);
#pragma unroll
    for (int first = 0; first < kRun; first += kPiece) {
      Vec<T, kPiece> piece;
#pragma unroll
      for (int i = 0; i < kPiece; ++i) piece.value[i] = value[first + i];
      store_vec(target + first, piece);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (run.is_inside(i)) y[run.y_offset(i)] = value[i];
    }
  }
}

// The scale and bias of a warp's columns behind its stage, fetched once. Runs read those past the last column too.
template <int N, class Real>
struct ColumnTerms {
  Real* scale;  // [8 * N], shared
  Real* bias;   // [8 * N], shared

  __device__ __forceinline__ ColumnTerms(void* place) : scale(static_cast<Real*>(place)), bias(scale + 8 * N) {}

  __device__ __forceinline__ void fetch(const ConvArguments& a, int first_column, int column_end) {
    const int column = prims::lane_id(), k = first_column + column;
    if (column >= 8 * N) return;
    const auto term = [&](const void* terms, int type) {
      return k < column_end ? load_real<Real>(terms, static_cast<DataType>(type), k) : Real(0);
    };
    if (a.scale != nullptr) scale[column] = term(a.scale, a.epilogue.scale_type);
    if (a.bias != nullptr) bias[column] = term(a.bias, a.epilogue.bias_type);
  }
};

// What finish_values() adds to a run. The residual is read by the lane that writes the same outputs.
template <int M, int N, class Real>
struct RunTerms {
  const WarpRun<M, N>& run;
  const ColumnTerms<N, Real>& columns;

  __device__ __forceinline__ void scale(Real (&term)[kRun]) const { take(columns.scale, term); }
  __device__ __forceinline__ void bias(Real (&term)[kRun]) const { take(columns.bias, term); }

  // column_term: [8 * N], shared
  __device__ __forceinline__ void take(const Real* column_term, Real (&term)[kRun]) const {
    constexpr int kPiece = 16 / sizeof(Real);
    column_term += run.k(0) - run.first_column;
    if (run.neighbours && !run.along_pixels) {
#pragma unroll
      for (int first = 0; first < kRun; first += kPiece) {
        const Vec<Real, kPiece> piece = load_vec<kPiece>(column_term + first);
#pragma unroll
        for (int i = 0; i < kPiece; ++i) term[first + i] = piece.value[i];
      }
    } else {
#pragma unroll
      for (int i = 0; i < kRun; ++i) term[i] = column_term[run.k(i) - run.k(0)];
    }
  }

  __device__ __forceinline__ void residual(Real (&term)[kRun]) const {
    visit_type(static_cast<DataType>(run.a.epilogue.y_type), TakeResidual{run, term});
  }

  struct TakeResidual {
    const WarpRun<M, N>& run;
    Real (&term)[kRun];

    template <class T>
    __device__ __forceinline__ void operator()(Element<T>) const {
      constexpr int kPiece = kRunPiece<T>;
      const T* source = static_cast<const T*>(run.a.residual);  // [N, P, Q, K] by residual_stride
      if (run.residual_whole && run.is_whole_inside()) {
        source += run.residual_offset(0);
#pragma unroll
        for (int first = 0; first < kRun; first += kPiece) {
          const Vec<T, kPiece> piece = load_vec<kPiece>(source + first);
#pragma unroll
          for (int i = 0; i < kPiece; ++i) term[first + i] = to_real<Real>(piece.value[i]);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kRun; ++i)
          term[i] = run.is_inside(i) ? to_real<Real>(source[run.residual_offset(i)]) : Real(0);
      }
    }
  };
};

// Whether whole runs of neighbours lie in memory one after another, and on pieces of `bytes`, a power of two: along
// channels those of every lane, along pixels those of this lane, which are the same pixels in each pass.
// offset(row): of channel 0 of a pixel; step: from channel to channel, both in elements of element_bytes.
template <int M, int N, class Offset>
__device__ __forceinline__ bool has_whole_runs(const WarpRun<M, N>& run, const void* base, const Offset& offset,
                                               int64 step, int element_bytes) {
  const int piece_bytes = min(16, kRun * element_bytes), lane = prims::lane_id();
  const auto on_piece = [&](int row) {
    const int64 bytes = (offset(row) + run.first_column * step) * element_bytes;
    return is_aligned(static_cast<const char*>(base) + bytes, piece_bytes);
  };
  if (!run.along_pixels) {
    bool whole = step == 1;
#pragma unroll
    for (int row = 0; row < 16 * M; row += kWarpLanes)
      whole = whole && (row + lane >= run.pixels || on_piece(row + lane));
    return prims::ballot(whole) == prims::kFullWarp;
  }
  unsigned followed[M / 2];  // bit i: the pixel is followed by its neighbour
#pragma unroll
  for (int i = 0; i < M / 2; ++i) {
    const int row = kWarpLanes * i + lane;
    followed[i] = prims::ballot(row + 1 < run.pixels && offset(row + 1) == offset(row) + 1);
  }
  const int first = lane % (2 * M) * kRun;
  const unsigned bits = (first < kWarpLanes ? followed[0] : followed[M / 2 - 1]) >> first % kWarpLanes;
  constexpr unsigned kAllButLast = (1u << (kRun - 1)) - 1;
  return (bits & kAllButLast) == kAllButLast && step * element_bytes % piece_bytes == 0 && on_piece(first);
}

template <int M, int N>
__device__ __forceinline__ WarpRun<M, N> warp_run(const ConvArguments& a, const OutputPlace* place, int pixels,
                                                  int first_column, int column_end) {
  WarpRun<M, N> run = {a, place, pixels, first_column, column_end, false, false, false, false, 0, 0, 0};
  // With one output channel both axes may be contiguous, and only the pixels are many.
  run.along_pixels = a.y_stride[3] != 1 || a.k == 1;
  const int bytes = bytes_of(static_cast<DataType>(a.epilogue.y_type));
  run.y_whole = has_whole_runs(run, a.y, [&](int row) { return place[row].y; }, a.y_stride[3], bytes);
  run.neighbours = __popc(prims::ballot(run.y_whole)) >= kWarpLanes / 2;
  if (!run.neighbours) {
    run.y_whole = false;
  } else if (a.residual != nullptr) {
    const auto offset = [&](int row) { return place[row].residual; };
    run.residual_whole = has_whole_runs(run, a.residual, offset, a.residual_stride[3], bytes);
  }
  return run;
}

// Whether the sums are the outputs: integers that no arithmetic in float64 has to pass by.
template <class Sum>
__device__ __forceinline__ bool are_outputs(const ConvArguments&) {
  return false;
}
template <>
__device__ __forceinline__ bool are_outputs<int32>(const ConvArguments& a) {
  return static_cast<DataType>(a.epilogue.y_type) == DataType::kInt32 && a.scale == nullptr && a.bias == nullptr &&
         a.residual == nullptr && static_cast<Activation>(a.epilogue.activation) == Activation::kNone &&
         a.epilogue.y_zero_point == 0;
}

template <int M, int N, class Real>
struct CastAndStore {
  const WarpRun<M, N>& run;
  const Real (&value)[kRun];

  template <class T>
  __device__ __forceinline__ void operator()(Element<T> element) const {
    T cast[kRun];
#pragma unroll
    for (int i = 0; i < kRun; ++i) cast[i] = element.from_real(value[i]);
    store_run(run, static_cast<T*>(run.a.y), cast);
  }
};

template <int M, int N, class Real, class Sum>
__device__ __forceinline__ void finish_run(const WarpRun<M, N>& run, const ColumnTerms<N, Real>& columns,
                                           const Sum (&sum)[kRun]) {
  Real value[kRun];
#pragma unroll
  for (int i = 0; i < kRun; ++i) value[i] = static_cast<Real>(sum[i] + Sum(0));  // -0, which some tiles leave, is 0
  finish_values(run.a, value, RunTerms<M, N, Real>{run, columns});
  visit_type(static_cast<DataType>(run.a.epilogue.y_type), CastAndStore<M, N, Real>{run, value});
}

// Writes the outputs of a warp: 16 * M pixels times 8 * N channels from first_column up to, and without, column_end.
// sum: of product (i, j) element e is pixel 16 i + lane/4 + 8 (e/2), channel 8 j + 2 (lane%4) + e%2.
// stage: [kWarpStageElements<M, N>], shared, this warp's alone, on 16 bytes. place: [16 * M], shared, the first
// `pixels` in use; what other warps wrote there they wrote before a barrier.
template <int M, int N, class Sum>
__device__ __forceinline__ void write_warp_sums(const ConvArguments& a, const Sum (&sum)[M][N][4], Sum* stage,
                                                const OutputPlace* place, int pixels, int first_column,
                                                int column_end) {
  static_assert((M == 2 || M == 4) && (N == 2 || N == 4) && sizeof(Sum) == 4, "passes of 512 words");
  using Real = typename EpilogueReal<Sum>::type;
  WarpRun<M, N> run = warp_run<M, N>(a, place, pixels, first_column, column_end);
  const bool outputs = are_outputs<Sum>(a);
  ColumnTerms<N, Real> columns(stage + kWarpStage);
  columns.fetch(a, first_column, column_end);
#pragma unroll 1
  for (int turn = 0; turn < M * N / 2; ++turn) {
    if (turn % 2 == 0) {
      run.start_pass(turn / 2);
      if (run.first_pixel >= pixels || run.first_k >= column_end) break;
      prims::sync_warp();  // the pass before is read
      stage_sums(sum, stage, turn / 2, run.along_pixels);
      prims::sync_warp();
    }
    run.start_run(turn % 2);
    Sum taken[kRun];
    take_run(run, stage, taken);
    if constexpr (sizeof(Real) != sizeof(Sum)) {
      if (outputs) {
        store_run(run, static_cast<Sum*>(a.y), taken);
        continue;
      }
    }
    finish_run(run, columns, taken);
  }
}

}  // namespace atrous
