// The argument structs of the kernels: plain data, field for field what kernels/parameters.py packs.
#pragma once

// Marks a function that both sides call; a compiler that knows no CUDA reads it as nothing.
#ifdef __CUDACC__
#define ATROUS_HOST_DEVICE __host__ __device__
#else
#define ATROUS_HOST_DEVICE
#endif

namespace atrous {

using int8 = signed char;
using uint8 = unsigned char;
using int32 = int;
using int64 = long long;
using float32 = float;
using float64 = double;

// Codes of parameters.py: DATA_TYPES, PADDING_CODES, ACTIVATION_CODES.
enum class DataType : int { kFloat32, kFloat16, kBfloat16, kFloat64, kInt8, kUint8, kInt32, kInt64 };
enum class PaddingMode : int { kZeros, kReflect, kReplicate, kCircular };
enum class Activation : int {
  kNone,
  kRelu,
  kRelu6,
  kLeakyRelu,
  kSilu,
  kGelu,
  kGeluTanh,
  kHardswish,
  kSigmoid,
  kTanh,
  kClip
};

// What lp pooling does with its cells: |x|^power, |x|, x^2, the mean of x^2, or the largest |x|.
enum class Norm : int { kPower, kSum, kSquares, kMeanSquare, kLargest };

// y = activation(scale[k] * sum + bias[k] + residual[n, p, q, k]), then the zero point, then the cast.
struct Epilogue {
  double activation_a;  // leaky_relu: slope; clip: low
  double activation_b;  // clip: high
  int activation;
  int scale_type;  // DataType of scale[K]
  int bias_type;   // DataType of bias[K]
  int y_type;      // DataType of y and of residual
  int y_zero_point;
  int reserved;
};

struct ConvArguments {
  const void* x;         // [N, H, W, C] by x_stride
  const void* weight;    // [K, R, S, C/G] by weight_stride
  const void* scale;     // [K] or null
  const void* bias;      // [K] or null
  const void* residual;  // [N, P, Q, K] by residual_stride, or null
  void* y;               // [N, P, Q, K] by y_stride
  int64 x_stride[4];
  int64 weight_stride[4];
  int64 residual_stride[4];
  int64 y_stride[4];
  Epilogue epilogue;
  int n, h, w, c, k, r, s, p, q, groups;
  int stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  int padding_mode;
  int x_zero_point;
};

// Of finish_splits: conv.x points to the partial sums, conv.weight to nothing.
struct FinishArguments {
  ConvArguments conv;
  int segments;  // of gemm_k
  int reserved;
};

// Rows of packed weights: for every chunk of channels, for r, for every run of taps, the run's elements (s, c), c
// fastest, then zeros up to run_elements, which are whole pieces of 16 bytes.
struct PackArguments {
  const void* weight;   // [K, R, S, C/G] by weight_stride
  void* packed_weight;  // [planes, K, row], then [K] int32 sums of the rows where with_sums
  int64 weight_stride[4];
  int k, r, s, channels;  // channels: C/G
  int taps_in_run;        // 1: runs of channels; s: runs of taps and channels
  int chunk_channels;     // what the last chunk has beyond channels is zero
  int run_elements;
  int planes;  // float32: 1, or 2 for what a tf32 leaves of it
  int with_sums;
  int row_parts;  // blocks that share the rows of one; 1 where with_sums
};

// An implicit GEMM on tensor cores, whose depth is counted in pieces of 16 bytes and in steps of 4 pieces.
struct GemmArguments {
  ConvArguments conv;  // weight: [planes][K] rows in the order (r, s, c), every tap padded with zeros to whole pieces
  int64 weight_row;    // bytes from the row of one output channel to that of the next
  int64 weight_plane;  // bytes from one plane of rows to the next
  int tap_pieces;      // of the C/G channels of one tap
  int segment_steps;   // steps that are summed from 0, before their sum is added to that of the steps before
  int segment_blocks;  // of one segment, where segments are blocks of their own and y the partial sums; else 0
  int reserved;
};

// Of conv_depthwise: conv's strides and dilations are 1 where there is one output, or one tap.
struct DepthwiseArguments {
  ConvArguments conv;
  unsigned items;  // images times phases times strips times column tiles
  int slabs;       // of output channels
  int lanes;       // pieces of 16 bytes of a slab's output channels
  int cell_lanes;  // pieces of x that they read of a cell: lanes, but for a multiplier
  int multiplier;  // K / C
  int column_tiles, tile_columns, strips, strip_rows;  // of the largest phase, in its outputs
  int phases_h, phases_w, apart_h, apart_w;  // phases with outputs; outputs of a phase are `apart` rows, columns apart
  int row_stride, column_stride;             // of a phase
  int chunk_rows;                            // of x: min(row_stride, R)
  int lead;                                  // chunks before the one that completes an output row
  int ring_chunks;
  int row_pieces;    // of 16 bytes, of a staged row
  int group_cells;   // of one thread: after them stand empty pieces
  int group_pieces;  // from group to group
  int reserved;
};

// Of conv_depthwise_planes.
struct PlanesArguments {
  ConvArguments conv;
  unsigned items;          // images times strips
  int slabs, planes;       // of output channels: blocks side by side, and what each has
  int x_planes;            // the most that they read
  int multiplier;          // K / C
  int strips, strip_rows;  // of output rows
  int parts;               // of a strip, summed side by side
  int x_pitch, y_pitch;    // elements of shared memory from plane to plane
};

struct PoolArguments {
  const void* x;           // [N, H, W, C] by x_stride
  const void* tap_weight;  // [R, S] float32, float64 for float64 x; weighted pooling only
  void* y;                 // [N, P, Q, C] by y_stride
  void* index;             // [N, P, Q, C] int32 or int64 by index_stride, or null
  int64 x_stride[4];
  int64 y_stride[4];
  int64 index_stride[4];
  double divisor;  // 0: count the taps
  double power;
  int n, h, w, c, r, s, p, q;
  int stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_bottom, pad_left, pad_right;
  int omit_nan, count_include_pad, normalize_full;
  int norm;                                                // Norm; lp and rms pooling
  int index_type;                                          // DataType of index
  int log_lanes_c, log_lanes_p, log_lanes_q, log_lanes_t;  // log2 of the threads over channels, rows, columns, taps
  int rows_in_step, taps_in_step;                          // window rows, and taps of a row, staged at a time
  int cell_step_h, cell_step_w;                            // input cells between staged neighbours; 0: tap by tap
  int output_pitch_h, output_pitch_w;                      // staged cells between the first taps of two outputs
  int tap_pitch_h, tap_pitch_w;                            // staged cells between two taps
};

// Of conv_first. A patch is patch_rows x patch_columns output pixels of one image. Its halo, the cells that they read,
// lies in shared memory as rows of [phase][column][channel], where phase is the column modulo dilation_w.
struct FirstArguments {
  ConvArguments conv;    // weight: [planes][K] rows in the order (chunk, r, s, c), each run (s, c) padded to pieces
  int64 weight_row;      // bytes from the row of one output channel to that of the next
  int64 weight_plane;    // bytes from one plane of rows to the next
  int64 weight_sums;     // bytes from the first row to the sums of the rows, int32 [K]; 0: none
  unsigned patches;      // of all images, below 2^31
  int row_patches;       // of an image, below one another
  int column_patches;    // of an image, side by side
  int patch_rows;        // output pixels
  int patch_columns;     // output pixels
  int chunks;            // parts of the channels, which are staged one after the other
  int channels;          // of a chunk; the last ones of the last chunk may be none of C
  int run_pieces;        // of 16 bytes, of a run: the taps of a filter row with the channels of a chunk
  int weight_slots;      // steps of weights in shared memory
  int halo_rows;         // that are staged
  int halo_columns;      // that the taps span
  int tap_rows;          // staged rows from one filter row to the next
  int row_bytes;         // of a staged row
  int phases;            // that are staged
  int phase_columns;     // staged columns of a phase
  int channels_first;    // columns are neighbours in x, and not channels
  int row_threads_log2;  // of the threads that stage a row together: 5, 6 or 7
  int reserved;
};

// Which outputs of a convolution a block computes and pools: those under window_rows x window_columns windows.
struct PatchArguments {
  int window_rows, window_columns;
  int row_patches, column_patches;  // of an image
  int rows, columns;                // of the convolution's outputs
  int is_average;
  int reserved;
};

struct ConvPoolArguments {
  GemmArguments gemm;  // conv.y: [N, P, Q, K] by pool.y_stride; conv.y_stride[3]: 1, of a tile in shared memory
  PoolArguments pool;  // of the convolution's output; no operand but y
  PatchArguments patch;
};

struct FirstPoolArguments {
  FirstArguments first;  // its patches are those of patch; conv.y as in ConvPoolArguments
  PoolArguments pool;    // of the convolution's output; no operand but y
  PatchArguments patch;
};

// y[i] = activation(x[i] + other[i]), or x[i], cast, over four axes; where it is a transposition, x_stride[3] is x's
// fastest axis and y_stride[2] is y's.
struct ElementwiseArguments {
  const void* x;      // [sizes] by x_stride
  const void* other;  // [sizes] of x's type by other_stride, or null
  void* y;            // [sizes] by y_stride
  int64 sizes[4];
  int64 x_stride[4];
  int64 other_stride[4];
  int64 y_stride[4];
  Epilogue epilogue;  // activation and y_type alone
  int x_type;         // DataType
  int x_vectors;      // vectors of 16 bytes along x's fastest axis begin at equal alignment in every row
  int y_vectors;      // the same of y
  int reserved;
};

}  // namespace atrous
