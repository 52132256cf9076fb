// The argument structs of the kernels that stream rows: plain data, field for field what kernels/parameters.py packs.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// A block of pool_stream pools a tile of columns along a strip of output rows.
struct PoolStreamArguments {
  PoolArguments pool;  // of the fields of its tiling only log_lanes_c and log_lanes_t
  int rows_in_strip, columns_in_tile;
  int pitch;          // staged elements from one column to the next
  int slot_elements;  // of a staged row
  int by_rows;        // averages: each row of a window is added up on its own
  int reserved;
};

// Of conv_depthwise_planes: which threads sum which runs, rows of a part of a plane.
struct PlaneRunsArguments {
  PlanesArguments planes;
  int run_step;   // from a run to that which the next threads sum
  int run_lanes;  // threads of a run
};

// A block of pool_bands pools strips of output rows of `planes` neighbouring planes. A plane is one of N * C in NCHW,
// and an image in NHWC, where a column has all channels. Planes that follow each other through all images are those of
// one.
struct PoolBandsArguments {
  PoolArguments pool;      // of the fields of its tiling only log_lanes_t
  int64 x_image, x_plane;  // elements from image to image, and from plane to plane
  int64 y_image, y_plane;
  unsigned items;          // images times groups of planes times strips
  int image_planes;        // of an image
  int inner;               // neighbours of a column: C in NHWC, 1 in NCHW
  int groups, planes;      // of an image, and planes of a group
  int strips, strip_rows;  // of a plane, and output rows of a strip
  int parts;               // of a strip, which threads walk down side by side
  int x_pitch, y_pitch;    // elements of shared memory from a plane to the next
  int run_step;            // from the run of a part of a plane to that which the next threads walk down
  int run_lanes;           // threads of a run
  int by_rows;             // averages: each row of a window is added up on its own
  int is_whole;            // the one window of a plane is shared by lanes
};

}  // namespace atrous
