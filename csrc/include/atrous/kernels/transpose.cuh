// transpose: moves arrays between two memory orders, NCHW and NHWC, and casts them.
//
// Computes  y[n, h, i, j] = x[n, h, i, j], rounded once where the types differ; the bits themselves where they do not.
// Layout    x and y: four axes (n, h, i, j) of any element strides; j is x's fastest axis and i is y's. Where rows of
//           pixels lie one behind another, h is 1 and pixels are counted through them.
// Mapping   A block owns a tile of kRows i by kColumns j. It loads rows of 128 bytes of x, 8 lanes a row with 16 bytes
//           each, and stores lines of y of 16 bytes a lane, 8 lanes a line. A side whose rows do not begin at
//           multiples of 16 bytes, or whose fastest axis has another step, moves by elements, neighbours to neighbours.
// Shared    kRows rows of x's bytes. Where y is stored by vectors a row has 128 bytes, and its 16-byte piece p stands
//           in place p ^ (row / kOutVector % 8): the 8 lanes of a row write 8 places, and the 8 lanes of a line, which
//           read rows kOutVector apart, read from 8 of them, while the 4 lines of a warp read words of one place: no
//           bank twice. Where y is stored by elements a row has a word more, and 32 rows below one another are 32
//           banks.
// Requires  No other operand, and fewer than 2^31 tiles.
// Cost      Reads x once, writes y once.
#pragma once

#include "atrous/vec.cuh"

namespace atrous {

constexpr int kTransposeThreads = 128;
constexpr int kTransposeRowBytes = 128;
constexpr int kTransposePieces = kTransposeRowBytes / 16;

template <int kBytes>
struct BitsOf;
template <>
struct BitsOf<1> {
  using type = unsigned char;
};
template <>
struct BitsOf<2> {
  using type = unsigned short;
};
template <>
struct BitsOf<4> {
  using type = unsigned;
};
template <>
struct BitsOf<8> {
  using type = unsigned long long;
};

// Calls visit(Element<T>{}) with the T of kBytes that `type` stands for.
template <int kBytes, class Visit>
__device__ __forceinline__ void visit_type_of(DataType type, const Visit& visit) {
  if constexpr (kBytes == 1) {
    if (type == DataType::kInt8) return visit(Element<int8>{});
    return visit(Element<uint8>{});
  } else if constexpr (kBytes == 2) {
    if (type == DataType::kFloat16) return visit(Element<float16>{});
    return visit(Element<bfloat16>{});
  } else if constexpr (kBytes == 4) {
    return visit(Element<float32>{});
  } else {
    return visit(Element<float64>{});
  }
}

template <class T, class U>
constexpr bool kSameType = false;
template <class T>
constexpr bool kSameType<T, T> = true;

// float32 holds every value of the types with fewer than 8 bytes.
template <class Out, class In>
__device__ __forceinline__ Out element_cast(In value) {
  if constexpr (kSameType<In, Out>) {
    return value;
  } else if constexpr (sizeof(In) == 8) {
    return Element<Out>::from_real(to_real<float64>(value));
  } else {
    return Element<Out>::from_real(to_real<float32>(value));
  }
}

// A tile, and how its cells lie in shared memory.
template <int kInBytes, int kOutBytes>
struct TransposeTile {
  static constexpr int kInVector = 16 / kInBytes;
  static constexpr int kOutVector = 16 / kOutBytes;
  static constexpr int kRows = kOutBytes == 1 ? 128 : 64;
  static constexpr int kColumns = kTransposeRowBytes / kInBytes;
  static constexpr int kSkew = kInBytes == 8 ? 8 : 4;  // bytes
  using InBits = typename BitsOf<kInBytes>::type;
  using Word = typename BitsOf<kSkew>::type;

  struct Cells {
    alignas(16) unsigned char byte[kRows * (kTransposeRowBytes + kSkew)];
  };

  Cells& cells;
  int rows, columns;  // that the arrays have of it
  bool out_vectors;

  // The byte of column `column` of row `row`.
  __device__ __forceinline__ unsigned char* cell(int row, int column) const {
    const int byte = column * kInBytes;
    const int pitch = out_vectors ? kTransposeRowBytes : kTransposeRowBytes + kSkew;
    const int piece = byte / 16 ^ (out_vectors ? row / kOutVector % kTransposePieces : 0);
    return cells.byte + row * pitch + piece * 16 + byte % 16;
  }

  // x: the tile's first element
  __device__ __forceinline__ void load(const InBits* x, int64 row_stride, int64 column_stride, bool in_vectors) const {
    if (in_vectors) return load_vectors(x, row_stride);
#pragma unroll 4
    for (int item = threadIdx.x; item < kRows * kColumns; item += kTransposeThreads) {
      const int row = item / kColumns, column = item % kColumns;
      if (row < rows && column < columns) copy_element(x + row * row_stride + column * column_stride, row, column);
    }
  }

  __device__ __forceinline__ void copy_element(const InBits* source, int row, int column) const {
    store_vec(reinterpret_cast<InBits*>(cell(row, column)), load_vec<1>(source));
  }

  // Four loads of a thread are under way before the first is waited for.
  __device__ __forceinline__ void load_vectors(const InBits* x, int64 row_stride) const {
    constexpr int kTurns = 4;
    constexpr int kWords = 16 / sizeof(Word);
    constexpr int kStep = kTransposeThreads / kTransposePieces;
    const int column = static_cast<int>(threadIdx.x) % kTransposePieces * kInVector;
    const bool whole = column + kInVector <= columns;
#pragma unroll 1
    for (int first = static_cast<int>(threadIdx.x) / kTransposePieces; first < rows; first += kTurns * kStep) {
      Vec<Word, kWords> held[kTurns] = {};
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        const int row = first + turn * kStep;
        if (whole && row < rows) {
          held[turn] = load_vec<kWords>(reinterpret_cast<const Word*>(x + row * row_stride + column));
        }
      }
#pragma unroll
      for (int turn = 0; turn < kTurns; ++turn) {
        const int row = first + turn * kStep;
        if (row >= rows) continue;
        if (whole) {
          store_piece(row, column, held[turn]);
        } else {
          for (int i = column; i < columns; ++i) copy_element(x + row * row_stride + i, row, i);
        }
      }
    }
  }

  template <int kWords>
  __device__ __forceinline__ void store_piece(int row, int column, const Vec<Word, kWords>& piece) const {
    Word* place = reinterpret_cast<Word*>(cell(row, column));
    if (out_vectors) return store_vec(place, piece);
#pragma unroll
    for (int i = 0; i < kWords; ++i) store_vec(place + i, Vec<Word, 1>{{piece.value[i]}});
  }

  template <class In, class Out>
  __device__ __forceinline__ Out cast_cell(int row, int column) const {
    return element_cast<Out>(load_vec<1>(reinterpret_cast<const In*>(cell(row, column))).value[0]);
  }

  // y: the tile's first element
  template <class In, class Out>
  __device__ __forceinline__ void store(Out* y, int64 row_stride, int64 column_stride) const {
    if (out_vectors) return store_vectors<In>(y, column_stride);
#pragma unroll 4
    for (int item = threadIdx.x; item < kRows * kColumns; item += kTransposeThreads) {
      const int row = item % kRows, column = item / kRows;
      if (row < rows && column < columns)
        y[row * row_stride + column * column_stride] = cast_cell<In, Out>(row, column);
    }
  }

  template <class In, class Out>
  __device__ __forceinline__ void store_vectors(Out* y, int64 column_stride) const {
    constexpr int kGroups = kRows / (kTransposePieces * kOutVector);  // of 128 bytes of y
#pragma unroll 1
    for (int item = threadIdx.x; item < kGroups * kColumns * kTransposePieces; item += kTransposeThreads) {
      const int column = item / kTransposePieces % kColumns;
      const int group = item / (kTransposePieces * kColumns);
      const int first = (group * kTransposePieces + item % kTransposePieces) * kOutVector;
      if (column >= columns) continue;
      Out* target = y + column * column_stride + first;
      if (first + kOutVector <= rows) {
        Vec<Out, kOutVector> vec;
#pragma unroll
        for (int i = 0; i < kOutVector; ++i) vec.value[i] = cast_cell<In, Out>(first + i, column);
        store_vec(target, vec);
      } else {
        for (int i = 0; first + i < rows; ++i) target[i] = cast_cell<In, Out>(first + i, column);
      }
    }
  }
};

// What visit_type_of() calls: functions with a name, as in types.cuh.
template <int kInBytes, int kOutBytes, class In>
struct StoreTileAs {
  const TransposeTile<kInBytes, kOutBytes>& tile;
  void* y;
  int64 offset, row_stride, column_stride;

  template <class Out>
  __device__ __forceinline__ void operator()(Element<Out>) const {
    tile.template store<In>(static_cast<Out*>(y) + offset, row_stride, column_stride);
  }
};

template <int kInBytes, int kOutBytes>
struct StoreTile {
  const TransposeTile<kInBytes, kOutBytes>& tile;
  DataType y_type;
  void* y;
  int64 offset, row_stride, column_stride;

  template <class In>
  __device__ __forceinline__ void operator()(Element<In>) const {
    visit_type_of<kOutBytes>(y_type, StoreTileAs<kInBytes, kOutBytes, In>{tile, y, offset, row_stride, column_stride});
  }
};

template <int kInBytes, int kOutBytes>
__global__ void __launch_bounds__(kTransposeThreads) transpose(const __grid_constant__ ElementwiseArguments a) {
  using Tile = TransposeTile<kInBytes, kOutBytes>;
  using InBits = typename Tile::InBits;
  const unsigned column_tiles = static_cast<unsigned>((a.sizes[3] + Tile::kColumns - 1) / Tile::kColumns);
  const unsigned row_tiles = static_cast<unsigned>((a.sizes[2] + Tile::kRows - 1) / Tile::kRows);
  const unsigned image_rows = static_cast<unsigned>(a.sizes[1]);
  const int64 column = static_cast<int64>(blockIdx.x % column_tiles) * Tile::kColumns;
  const unsigned line = blockIdx.x / column_tiles;
  const int64 row = static_cast<int64>(line % row_tiles) * Tile::kRows;
  const int64 h = line / row_tiles % image_rows, n = line / row_tiles / image_rows;
  const Tile tile = {prims::shared<typename Tile::Cells>(), static_cast<int>(min(a.sizes[2] - row, int64{Tile::kRows})),
                     static_cast<int>(min(a.sizes[3] - column, int64{Tile::kColumns})),
                     a.y_vectors != 0 && is_aligned(a.y, 16)};
  const int64 x_offset = n * a.x_stride[0] + h * a.x_stride[1] + row * a.x_stride[2] + column * a.x_stride[3];
  const int64 y_offset = n * a.y_stride[0] + h * a.y_stride[1] + row * a.y_stride[2] + column * a.y_stride[3];
  tile.load(static_cast<const InBits*>(a.x) + x_offset, a.x_stride[2], a.x_stride[3],
            a.x_vectors != 0 && is_aligned(a.x, 16));
  prims::sync_block();
  visit_type_of<kInBytes>(static_cast<DataType>(a.x_type),
                          StoreTile<kInBytes, kOutBytes>{tile, static_cast<DataType>(a.epilogue.y_type), a.y, y_offset,
                                                         a.y_stride[2], a.y_stride[3]});
}

}  // namespace atrous
