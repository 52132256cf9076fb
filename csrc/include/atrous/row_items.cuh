// The items that a block of streamed rows goes through: strips of output rows, tiles of columns, phases, images.
#pragma once

#include "atrous/geometry.hpp"

namespace atrous {

// Output rows and columns of one phase: the first, and how many.
struct RowItem {
  int image;
  int first_p, first_q;
  int rows, columns;
};

// The items of a block, and the steps of each: a step takes a chunk and, but for the first a.lead, gives an output row.
// Arguments: a struct of a kernel whose slabs of output channels run fastest among the blocks.
template <class Arguments>
struct ItemWalk {
  const Arguments& a;
  unsigned next;
  RowItem item;
  int step, steps;  // steps is 0 when no item is left

  __device__ __forceinline__ explicit ItemWalk(const Arguments& a) : a(a), next(blockIdx.x / a.slabs) { find(); }

  __device__ __forceinline__ void advance() {
    if (++step == steps) find();
  }

  // Phases may have one output less than the first one: the last tile or strip of theirs may be empty.
  __device__ __forceinline__ void find() {
    step = steps = 0;
    while (steps == 0 && next < a.items) {
      item = decode(next);
      next += gridDim.x / a.slabs;
      if (item.rows > 0 && item.columns > 0) steps = item.rows + a.lead;
    }
  }

  __device__ __forceinline__ RowItem decode(unsigned rest) const {
    const ConvArguments& conv = a.conv;
    const auto digit = [&rest](int size) {
      const unsigned value = rest % size;
      rest /= size;
      return static_cast<int>(value);
    };
    const int column = digit(a.column_tiles) * a.tile_columns, row = digit(a.strips) * a.strip_rows;
    const int phase_q = digit(a.phases_w), phase_p = digit(a.phases_h);
    const int columns = ceil_divide(conv.q - phase_q, a.apart_w) - column;
    const int rows = ceil_divide(conv.p - phase_p, a.apart_h) - row;
    return {static_cast<int>(rest), phase_p + row * a.apart_h, phase_q + column * a.apart_w, min(rows, a.strip_rows),
            min(columns, a.tile_columns)};
  }
};

}  // namespace atrous
