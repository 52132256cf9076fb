// The argument struct of pool_stream: plain data, field for field what kernels/parameters.py packs.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// A block of pool_stream pools a tile of columns along a strip of output rows.
struct PoolStreamArguments {
  PoolArguments pool;  // of the fields of its tiling only log_lanes_c and log_lanes_t
  int rows_in_strip, columns_in_tile;
  int pitch;          // staged elements from one column to the next in Nhwc, from one plane to the next in Nchw
  int slot_elements;  // of a staged row
  int by_rows;        // averages: each row of a window is added up on its own
  int reserved;
};

}  // namespace atrous
