// conv_depthwise: one filter a channel, or several, in NHWC: rows of x stream through shared memory, each read once.
//
// Computes  y[n, p, q, k] = finish(sum over r, s of x[n, h, w, k / multiplier] * weight[k, r, s]), where
//           h = p * stride_h - pad_top + r * dilation_h and w = q * stride_w - pad_left + s * dilation_w, in float32, r
//           and s ascending, with the zeros of padding among the terms. K = multiplier * C, one channel a group.
// Layout    x, weight, residual and y through their element strides; written for NHWC. x comes by copies of 16 bytes
//           where its channels are neighbours and aligned, else element by element.
// Mapping   A block owns a slab of `lanes` pieces of 16 bytes of output channels for its whole life, and so reads their
//           weights once; it goes through items: an image, a strip of output rows, a tile of columns. A thread owns a
//           piece of channels of kColumns neighbouring columns: 16 sums of an output row.
//           Outputs whose windows share cells are m = dilation / gcd(stride, dilation) apart and read every
//           dilation-th row and column: a phase, which is a convolution without dilation. Items are of one phase each.
//           Window knows R, S and the stride of a phase: the sums of all outputs that hold a row of x are kept at once
//           and move on by one with every output row, so that a row is read from shared memory once. AnyWindow sums an
//           output row when all its R rows are there.
// Shared    A ring of chunks, each the rows of x by which the windows advance, two or three of them under way; the
//           weights and terms of the slab as float32. A cell is `cell_lanes` pieces; after the cells of one thread,
//           kColumns * stride of them, stand as many empty pieces as make the step from thread to thread `lanes` modulo
//           8: piece number (column lane) * lanes + lane is the thread's own number, so 8 neighbours read 8 different
//           groups of 4 banks. Weights: pieces of 4 floats, lanes running fastest; 8 neighbours read 8 at most 8 apart.
//           With a multiplier threads read single elements, which may meet in a bank.
// Requires  C groups; floats of 16 or 32 bits; H and W with their padding below 2^31; a ring and the weights of one
//           lane in shared memory; fewer than 2^31 items and blocks.
// Cost      2 * N*P*Q * K * R*S operations. Bytes: weight once a block; y once; x once, and again the R - stride rows
//           between strips and the S - stride columns between tiles.
#pragma once

#include "atrous/depthwise_rows.cuh"
#include "atrous/depthwise_window.cuh"
#include "atrous/neighbours.cuh"

namespace atrous {

// A thread's place in its block.
struct DepthwiseThread {
  int lane, column_lane;
  int column;   // the first of the tile
  int channel;  // its output channels from this one on

  template <class T>
  __device__ __forceinline__ static DepthwiseThread of(const DepthwiseArguments& a, int slab) {
    DepthwiseThread thread;
    thread.column_lane = threadIdx.x / a.lanes;
    thread.lane = threadIdx.x - thread.column_lane * a.lanes;
    thread.column = thread.column_lane * DepthwiseTile<T>::kColumns;
    thread.channel = (slab * a.lanes + thread.lane) * DepthwiseTile<T>::kChannels;
    return thread;
  }

  __device__ __forceinline__ bool has_outputs(const DepthwiseArguments& a, const DepthwiseItem& item) const {
    return column < item.columns && channel < a.conv.k;
  }
};

// The weights of one tap for a thread's channels. weight: of its lane, tap 0
template <class T>
struct TapWeights {
  float32 value[DepthwiseTile<T>::kChannels];

  __device__ __forceinline__ TapWeights(const DepthwiseArguments& a, const float32* weight, int tap) {
    constexpr int kQuarters = DepthwiseTile<T>::kQuarters;
#pragma unroll
    for (int quarter = 0; quarter < kQuarters; ++quarter) {
      const Vec<float32, 4> piece = load_vec<4>(weight + (tap * kQuarters + quarter) * a.lanes * 4);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[quarter * 4 + i] = piece.value[i];
    }
  }
};

// The sums of all outputs that hold a row of x, the youngest first: those of a step's finished output row are last.
template <class T, class Window>
struct StreamedSums {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels, kColumns = DepthwiseTile<T>::kColumns;
  static constexpr int kAges = Window::kAges, kStride = Window::kStride;

  DepthwiseSums<T> value[kAges];

  __device__ __forceinline__ explicit StreamedSums(const DepthwiseArguments&) {
#pragma unroll
    for (int age = 0; age < kAges; ++age) clear(age);
  }

  __device__ __forceinline__ DepthwiseSums<T>& finished() { return value[kAges - 1]; }

  __device__ __forceinline__ void clear(int age) {
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int i = 0; i < kChannels; ++i) value[age][column][i] = 0.0f;
    }
  }

  // ring: from the thread's first cell on
  __device__ __forceinline__ void add_chunk(const DepthwiseArguments& a, const T* ring, const float32* weight,
                                            int chunk, bool) {
#pragma unroll
    for (int age = kAges - 1; age > 0; --age) {
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
#pragma unroll
        for (int i = 0; i < kChannels; ++i) value[age][column][i] = value[age - 1][column][i];
      }
    }
    clear(0);
    const int pitch = a.row_pieces * kChannels;
    const T* row = ring + chunk * kStride * pitch;
    add_row<0>(a, row, weight);
    if constexpr (kStride == 2) add_row<1>(a, row + pitch, weight);
  }

  // Row number kRow of a chunk is the row age * kStride + kRow of the windows.
  template <int kRow>
  __device__ __forceinline__ void add_row(const DepthwiseArguments& a, const T* row, const float32* weight) {
    constexpr int kGroup = kColumns * kStride, kCells = (kColumns - 1) * kStride + Window::kS;
    Vec<T, kChannels> cell[kCells];
#pragma unroll
    for (int i = 0; i < kCells; ++i)
      cell[i] = load_vec<kChannels>(row + (i / kGroup * a.group_pieces + i % kGroup * a.lanes) * kChannels);
#pragma unroll
    for (int s = 0; s < Window::kS; ++s) {
#pragma unroll
      for (int age = 0; age < kAges; ++age) {
        if (age * kStride + kRow >= Window::kR) continue;
        const TapWeights<T> tap(a, weight, (age * kStride + kRow) * Window::kS + s);
#pragma unroll
        for (int column = 0; column < kColumns; ++column) {
#pragma unroll
          for (int i = 0; i < kChannels; ++i)
            value[age][column][i] += to_accumulator(cell[column * kStride + s].value[i]) * tap.value[i];
        }
      }
    }
  }
};

// The sums of one output row, over windows of any size.
template <class T>
struct StreamedSums<T, AnyWindow> {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels, kColumns = DepthwiseTile<T>::kColumns;

  DepthwiseSums<T> value;
  int place[kChannels];  // with a multiplier: where in a cell the channels' elements lie, from its first piece on

  __device__ __forceinline__ explicit StreamedSums(const DepthwiseArguments& a) {
    if (a.multiplier == 1) return;
    const int first = blockIdx.x % a.slabs * a.lanes * kChannels, own = threadIdx.x % a.lanes * kChannels;
    const int first_cell = first / a.multiplier / kChannels * kChannels;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) place[i] = min(first + own + i, a.conv.k - 1) / a.multiplier - first_cell;
  }

  __device__ __forceinline__ DepthwiseSums<T>& finished() { return value; }

  // ring: from the thread's first cell on; chunk: the last that the windows hold
  __device__ __forceinline__ void add_chunk(const DepthwiseArguments& a, const T* ring, const float32* weight,
                                            int chunk, bool is_last) {
    if (!is_last) return;
#pragma unroll
    for (int column = 0; column < kColumns; ++column) {
#pragma unroll
      for (int i = 0; i < kChannels; ++i) value[column][i] = 0.0f;
    }
    chunk -= a.lead;
    if (chunk < 0) chunk += a.ring_chunks;
    int in_chunk = 0;
#pragma unroll 1
    for (int r = 0; r < a.conv.r; ++r) {
      add_row(a, ring + (chunk * a.chunk_rows + in_chunk) * a.row_pieces * kChannels, weight, r * a.conv.s);
      if (++in_chunk == a.chunk_rows) {
        in_chunk = 0;
        if (++chunk == a.ring_chunks) chunk = 0;
      }
    }
  }

  __device__ __forceinline__ void add_row(const DepthwiseArguments& a, const T* row, const float32* weight, int tap) {
    int cell = 0;  // of the group of cells
#pragma unroll 1
    for (int s = 0; s < a.conv.s; ++s) {
      const TapWeights<T> weights(a, weight, tap + s);
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        const int passed = cell + column * a.column_stride, next = passed >= a.group_cells;
        const T* source =
            row + (next * (a.group_pieces - a.group_cells * a.cell_lanes) + passed * a.cell_lanes) * kChannels;
        if (a.multiplier == 1) {
          const Vec<T, kChannels> x = load_vec<kChannels>(source);
#pragma unroll
          for (int i = 0; i < kChannels; ++i) value[column][i] += to_accumulator(x.value[i]) * weights.value[i];
        } else {
#pragma unroll
          for (int i = 0; i < kChannels; ++i) value[column][i] += to_accumulator(source[place[i]]) * weights.value[i];
        }
      }
      if (++cell == a.group_cells) {
        cell = 0;
        row += a.group_pieces * kChannels;
      }
    }
  }
};

// What finish_values() adds to a piece of channels. The residual is read by the thread that writes the same outputs.
template <class T>
struct SlabTerms {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels;
  const ConvArguments& a;
  const float32* own_scale;  // [kChannels], shared
  const float32* own_bias;   // [kChannels], shared
  const Neighbours& place;   // in the residual

  __device__ __forceinline__ void scale(float32 (&term)[kChannels]) const { take(own_scale, term); }
  __device__ __forceinline__ void bias(float32 (&term)[kChannels]) const { take(own_bias, term); }
  __device__ __forceinline__ void residual(float32 (&term)[kChannels]) const {
    visit_type(static_cast<DataType>(a.epilogue.y_type), LoadNeighbours<float32, kChannels>{a.residual, place, term});
  }

  __device__ __forceinline__ static void take(const float32* terms, float32 (&term)[kChannels]) {
#pragma unroll
    for (int first = 0; first < kChannels; first += 4) {
      const Vec<float32, 4> piece = load_vec<4>(terms + first);
#pragma unroll
      for (int i = 0; i < 4; ++i) term[first + i] = piece.value[i];
    }
  }
};

// Whether a thread's channels of every pixel are neighbours in an array, aligned to their pieces.
template <class T>
__device__ __forceinline__ bool has_pieces(const ConvArguments& a, const void* base, const int64 (&stride)[4]) {
  const int size = bytes_of(static_cast<DataType>(a.epilogue.y_type));
  const int bytes = piece_bytes(size, DepthwiseTile<T>::kChannels);
  return is_aligned(base, bytes) && stride[3] == 1 && stride[0] * size % bytes == 0 && stride[1] * size % bytes == 0 &&
         stride[2] * size % bytes == 0;
}

// Where a thread's outputs go.
template <class T>
struct DepthwiseOutput {
  static constexpr int kChannels = DepthwiseTile<T>::kChannels, kColumns = DepthwiseTile<T>::kColumns;

  const DepthwiseArguments& a;
  const DepthwiseThread& thread;
  const float32* scale;  // [kChannels], shared
  const float32* bias;   // [kChannels], shared
  bool y_whole, residual_whole;

  __device__ __forceinline__ DepthwiseOutput(const DepthwiseArguments& a, const DepthwiseThread& thread,
                                             const DepthwiseShared<T>& shared)
      : a(a),
        thread(thread),
        scale(shared.scale + thread.lane * kChannels),
        bias(shared.bias + thread.lane * kChannels) {
    const bool full = thread.channel + kChannels <= a.conv.k;
    y_whole = full && has_pieces<T>(a.conv, a.conv.y, a.conv.y_stride);
    residual_whole =
        full && a.conv.residual != nullptr && has_pieces<T>(a.conv, a.conv.residual, a.conv.residual_stride);
  }

  // Finishes an output row of the item. The columns pass the one text of the epilogue by in their registers.
  __device__ __forceinline__ void write(const DepthwiseItem& item, int row, DepthwiseSums<T>& sums) const {
    const int64 n = item.image, p = item.first_p + row * a.apart_h;
#pragma unroll 1
    for (int column = thread.column; column < min(thread.column + kColumns, item.columns); ++column) {
      write_column(n, p, item.first_q + column * a.apart_w, sums[0]);
#pragma unroll
      for (int later = 1; later < kColumns; ++later) {
#pragma unroll
        for (int i = 0; i < kChannels; ++i) sums[later - 1][i] = sums[later][i];
      }
    }
  }

  __device__ __forceinline__ void write_column(int64 n, int64 p, int64 q, const float32 (&sum)[kChannels]) const {
    const ConvArguments& conv = a.conv;
    const auto neighbours = [&](const int64(&stride)[4], bool whole) {
      const int64 offset = n * stride[0] + p * stride[1] + q * stride[2] + thread.channel * stride[3];
      return Neighbours{offset, stride[3], 0, conv.k - thread.channel, whole};
    };
    float32 value[kChannels];
#pragma unroll
    for (int i = 0; i < kChannels; ++i) value[i] = sum[i];
    const Neighbours residual = neighbours(conv.residual_stride, residual_whole);
    finish_values(conv, value, SlabTerms<T>{conv, scale, bias, residual});
    const Neighbours y = neighbours(conv.y_stride, y_whole);
    visit_type(static_cast<DataType>(conv.epilogue.y_type), StoreNeighbours<float32, kChannels>{conv.y, y, value});
  }
};

template <class T, class Window>
__global__ void __launch_bounds__(Window::kThreads, Window::kBlocks)
    conv_depthwise(const __grid_constant__ DepthwiseArguments a) {
  constexpr int kChannels = DepthwiseTile<T>::kChannels;
  const DepthwiseShared<T> shared(a);
  const int slab = blockIdx.x % a.slabs, first_k = slab * a.lanes * kChannels;
  RowLoader<T> loader(a, shared.ring, first_k / a.multiplier / kChannels * kChannels);
#pragma unroll 1
  for (int i = 0; i < Window::kAhead; ++i) loader.start_next();
  load_slab(a, shared, first_k);
  const DepthwiseThread thread = DepthwiseThread::of<T>(a, slab);
  const DepthwiseOutput<T> output(a, thread, shared);
  const int own_piece = thread.column_lane * a.group_pieces + (a.multiplier == 1 ? thread.lane : 0);
  const T* ring = shared.ring + own_piece * kChannels;
  const float32* weight = shared.weight + thread.lane * 4;
  StreamedSums<T, Window> sums(a);
  int chunk = 0;
#pragma unroll 1
  for (ItemWalk walk(a); walk.steps > 0; walk.advance()) {
    prims::wait_copies<Window::kAhead - 1>();
    prims::sync_block();  // the chunk is there; the one whose place the next takes is summed
    loader.start_next();
    if (thread.has_outputs(a, walk.item)) {
      const bool gives_row = walk.step >= a.lead;
      sums.add_chunk(a, ring, weight, chunk, gives_row);
      if (gives_row) output.write(walk.item, walk.step - a.lead, sums.finished());
    }
    if (++chunk == a.ring_chunks) chunk = 0;
  }
}

}  // namespace atrous
