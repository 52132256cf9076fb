// The argument struct of conv_depthwise_large: plain data, field for field what kernels/parameters.py packs.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// An octet is 8 neighbouring columns of x: number i begins at column 8 * i - pad_left - shift.
struct LargeArguments {
  ConvArguments conv;
  unsigned items;                  // groups of images times strips times groups of column tiles
  int slabs, channels;             // blocks side by side, and what each has: 16 or 8
  int images;                      // of a group
  int strips, strip_rows;          // of output rows
  int column_groups, group_tiles;  // tiles of 8 output columns
  int pass_tiles;                  // of a group, summed at a time
  int shift;                       // zeros before a row of taps, below 8
  int octets;                      // that hold the windows of a tile, the first of which has the number of the tile
  int first_octet, end_octet;      // those that hold any column of x
  int row_pieces, plane_pieces, image_pieces;  // of 16 bytes, from a staged row, channel and image to the next
};

}  // namespace atrous
