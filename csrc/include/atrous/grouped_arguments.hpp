// The argument struct of conv_grouped: plain data, field for field what kernels/parameters.py packs.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// A block owns tiles of 8 output channels, fewer at the end of a group. With groups of 4 channels a tile may belong to
// two of them, and its halves are what is counted.
struct GroupedArguments {
  ConvArguments conv;  // weight: [K] rows of weight_row bytes; conv's strides are 1 where there is one output
  int64 weight_row;    // bytes from the row of one output channel to that of the next
  unsigned items;      // images times phases times strips times column tiles
  int slabs;           // of output channels
  int slab_tiles;      // of a slab, two for each warp along the channels
  int group_units;     // of a group: tiles, or halves of tiles
  int column_tiles, tile_columns, strips, strip_rows;  // of the largest phase, in its outputs
  int phases_h, phases_w, apart_h, apart_w;  // phases with outputs; outputs of a phase are `apart` rows, columns apart
  int column_stride;                         // of a phase: 1 or 2
  int lead;                                  // chunks before the one that completes an output row
  int cell_pieces;                           // of 16 bytes, that are staged of a cell
  int bank_bits;                             // log2 of the largest power of two, up to 8, that divides cell_pieces
  int plane_cells;  // places of a staged row from its first cell to its second, if it has every second one apart
  int front_bytes;  // of shared memory: the ring, and before that the weights
};

}  // namespace atrous
