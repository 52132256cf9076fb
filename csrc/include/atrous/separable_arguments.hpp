// The argument struct of conv_separable: plain data, field for field what kernels/parameters.py packs.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// gemm is the 1x1, but its x that of the depthwise.
struct SeparableArguments {
  const void* depthwise_weight;  // [R, S] rows of C elements, padded with zeros to whole pieces of 16 bytes
  const void* depthwise_scale;   // [C] or null
  const void* depthwise_bias;    // [C] or null
  GemmArguments gemm;            // conv.x: [N, H, W, C] by conv.x_stride
  Epilogue depthwise_epilogue;   // y_type: that of x
  int h, w, r, s;
  int stride_h, stride_w, dilation_h, pad_top, pad_left;
  int padding_mode;
  int row_tiles, column_tiles;  // of an image: 16 groups of 4 output columns each
  int groups_log2;              // of the groups of a tile's row
  int halo_rows, halo_columns;  // cells of x that the windows of a tile hold, columns an even number
  int row_cells, slice_cells;   // places of a staged row, and of a slice of channels
  int reserved;
};

}  // namespace atrous
