// Where each field of the argument structs lies, for the tests that hold the Python mirrors against them.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "atrous/grouped_arguments.hpp"
#include "atrous/large_arguments.hpp"
#include "atrous/probes/probe.hpp"
#include "atrous/problem.hpp"
#include "atrous/separable_arguments.hpp"
#include "atrous/stream_arguments.hpp"
#include "atrous/tensor_map.hpp"

namespace atrous {

using StructLayout = std::vector<std::pair<std::string, std::size_t>>;

#define ATROUS_FIELD(name) {#name, offsetof(Struct, name)}

inline StructLayout epilogue_layout() {
  using Struct = Epilogue;
  return {ATROUS_FIELD(activation_a), ATROUS_FIELD(activation_b), ATROUS_FIELD(activation),
          ATROUS_FIELD(scale_type),   ATROUS_FIELD(bias_type),    ATROUS_FIELD(y_type),
          ATROUS_FIELD(y_zero_point), ATROUS_FIELD(reserved),     {"sizeof", sizeof(Struct)}};
}

inline StructLayout conv_arguments_layout() {
  using Struct = ConvArguments;
  return {ATROUS_FIELD(x),
          ATROUS_FIELD(weight),
          ATROUS_FIELD(scale),
          ATROUS_FIELD(bias),
          ATROUS_FIELD(residual),
          ATROUS_FIELD(y),
          ATROUS_FIELD(x_stride),
          ATROUS_FIELD(weight_stride),
          ATROUS_FIELD(residual_stride),
          ATROUS_FIELD(y_stride),
          ATROUS_FIELD(epilogue),
          ATROUS_FIELD(n),
          ATROUS_FIELD(h),
          ATROUS_FIELD(w),
          ATROUS_FIELD(c),
          ATROUS_FIELD(k),
          ATROUS_FIELD(r),
          ATROUS_FIELD(s),
          ATROUS_FIELD(p),
          ATROUS_FIELD(q),
          ATROUS_FIELD(groups),
          ATROUS_FIELD(stride_h),
          ATROUS_FIELD(stride_w),
          ATROUS_FIELD(dilation_h),
          ATROUS_FIELD(dilation_w),
          ATROUS_FIELD(pad_top),
          ATROUS_FIELD(pad_left),
          ATROUS_FIELD(padding_mode),
          ATROUS_FIELD(x_zero_point),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout finish_arguments_layout() {
  using Struct = FinishArguments;
  return {ATROUS_FIELD(conv), ATROUS_FIELD(segments), ATROUS_FIELD(reserved), {"sizeof", sizeof(Struct)}};
}

inline StructLayout pack_arguments_layout() {
  using Struct = PackArguments;
  return {ATROUS_FIELD(weight),
          ATROUS_FIELD(packed_weight),
          ATROUS_FIELD(weight_stride),
          ATROUS_FIELD(k),
          ATROUS_FIELD(r),
          ATROUS_FIELD(s),
          ATROUS_FIELD(channels),
          ATROUS_FIELD(taps_in_run),
          ATROUS_FIELD(chunk_channels),
          ATROUS_FIELD(run_elements),
          ATROUS_FIELD(planes),
          ATROUS_FIELD(with_sums),
          ATROUS_FIELD(row_parts),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout gemm_arguments_layout() {
  using Struct = GemmArguments;
  return {ATROUS_FIELD(conv),       ATROUS_FIELD(weight_row),    ATROUS_FIELD(weight_plane),
          ATROUS_FIELD(tap_pieces), ATROUS_FIELD(segment_steps), ATROUS_FIELD(segment_blocks),
          ATROUS_FIELD(reserved),   {"sizeof", sizeof(Struct)}};
}

inline StructLayout depthwise_arguments_layout() {
  using Struct = DepthwiseArguments;
  return {
      ATROUS_FIELD(conv),        ATROUS_FIELD(items),        ATROUS_FIELD(slabs),        ATROUS_FIELD(lanes),
      ATROUS_FIELD(cell_lanes),  ATROUS_FIELD(multiplier),   ATROUS_FIELD(column_tiles), ATROUS_FIELD(tile_columns),
      ATROUS_FIELD(strips),      ATROUS_FIELD(strip_rows),   ATROUS_FIELD(phases_h),     ATROUS_FIELD(phases_w),
      ATROUS_FIELD(apart_h),     ATROUS_FIELD(apart_w),      ATROUS_FIELD(row_stride),   ATROUS_FIELD(column_stride),
      ATROUS_FIELD(chunk_rows),  ATROUS_FIELD(lead),         ATROUS_FIELD(ring_chunks),  ATROUS_FIELD(row_pieces),
      ATROUS_FIELD(group_cells), ATROUS_FIELD(group_pieces), ATROUS_FIELD(reserved),     {"sizeof", sizeof(Struct)}};
}

inline StructLayout grouped_arguments_layout() {
  using Struct = GroupedArguments;
  return {ATROUS_FIELD(conv),        ATROUS_FIELD(weight_row),  ATROUS_FIELD(items),         ATROUS_FIELD(slabs),
          ATROUS_FIELD(slab_tiles),  ATROUS_FIELD(group_units), ATROUS_FIELD(column_tiles),  ATROUS_FIELD(tile_columns),
          ATROUS_FIELD(strips),      ATROUS_FIELD(strip_rows),  ATROUS_FIELD(phases_h),      ATROUS_FIELD(phases_w),
          ATROUS_FIELD(apart_h),     ATROUS_FIELD(apart_w),     ATROUS_FIELD(column_stride), ATROUS_FIELD(lead),
          ATROUS_FIELD(cell_pieces), ATROUS_FIELD(bank_bits),   ATROUS_FIELD(plane_cells),   ATROUS_FIELD(front_bytes),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout planes_arguments_layout() {
  using Struct = PlanesArguments;
  return {ATROUS_FIELD(conv),     ATROUS_FIELD(items),      ATROUS_FIELD(slabs),   ATROUS_FIELD(planes),
          ATROUS_FIELD(x_planes), ATROUS_FIELD(multiplier), ATROUS_FIELD(strips),  ATROUS_FIELD(strip_rows),
          ATROUS_FIELD(parts),    ATROUS_FIELD(x_pitch),    ATROUS_FIELD(y_pitch), {"sizeof", sizeof(Struct)}};
}

inline StructLayout large_arguments_layout() {
  using Struct = LargeArguments;
  return {ATROUS_FIELD(conv),         ATROUS_FIELD(items),       ATROUS_FIELD(slabs),      ATROUS_FIELD(channels),
          ATROUS_FIELD(images),       ATROUS_FIELD(strips),      ATROUS_FIELD(strip_rows), ATROUS_FIELD(column_groups),
          ATROUS_FIELD(group_tiles),  ATROUS_FIELD(pass_tiles),  ATROUS_FIELD(shift),      ATROUS_FIELD(octets),
          ATROUS_FIELD(first_octet),  ATROUS_FIELD(end_octet),   ATROUS_FIELD(row_pieces), ATROUS_FIELD(plane_pieces),
          ATROUS_FIELD(image_pieces), {"sizeof", sizeof(Struct)}};
}

inline StructLayout pool_arguments_layout() {
  using Struct = PoolArguments;
  return {ATROUS_FIELD(x),
          ATROUS_FIELD(tap_weight),
          ATROUS_FIELD(y),
          ATROUS_FIELD(index),
          ATROUS_FIELD(x_stride),
          ATROUS_FIELD(y_stride),
          ATROUS_FIELD(index_stride),
          ATROUS_FIELD(divisor),
          ATROUS_FIELD(power),
          ATROUS_FIELD(n),
          ATROUS_FIELD(h),
          ATROUS_FIELD(w),
          ATROUS_FIELD(c),
          ATROUS_FIELD(r),
          ATROUS_FIELD(s),
          ATROUS_FIELD(p),
          ATROUS_FIELD(q),
          ATROUS_FIELD(stride_h),
          ATROUS_FIELD(stride_w),
          ATROUS_FIELD(dilation_h),
          ATROUS_FIELD(dilation_w),
          ATROUS_FIELD(pad_top),
          ATROUS_FIELD(pad_bottom),
          ATROUS_FIELD(pad_left),
          ATROUS_FIELD(pad_right),
          ATROUS_FIELD(omit_nan),
          ATROUS_FIELD(count_include_pad),
          ATROUS_FIELD(normalize_full),
          ATROUS_FIELD(norm),
          ATROUS_FIELD(index_type),
          ATROUS_FIELD(log_lanes_c),
          ATROUS_FIELD(log_lanes_p),
          ATROUS_FIELD(log_lanes_q),
          ATROUS_FIELD(log_lanes_t),
          ATROUS_FIELD(rows_in_step),
          ATROUS_FIELD(taps_in_step),
          ATROUS_FIELD(cell_step_h),
          ATROUS_FIELD(cell_step_w),
          ATROUS_FIELD(output_pitch_h),
          ATROUS_FIELD(output_pitch_w),
          ATROUS_FIELD(tap_pitch_h),
          ATROUS_FIELD(tap_pitch_w),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout pool_stream_arguments_layout() {
  using Struct = PoolStreamArguments;
  return {ATROUS_FIELD(pool),     ATROUS_FIELD(rows_in_strip), ATROUS_FIELD(columns_in_tile),
          ATROUS_FIELD(pitch),    ATROUS_FIELD(slot_elements), ATROUS_FIELD(by_rows),
          ATROUS_FIELD(reserved), {"sizeof", sizeof(Struct)}};
}

inline StructLayout plane_runs_arguments_layout() {
  using Struct = PlaneRunsArguments;
  return {ATROUS_FIELD(planes), ATROUS_FIELD(run_step), ATROUS_FIELD(run_lanes), {"sizeof", sizeof(Struct)}};
}

inline StructLayout pool_bands_arguments_layout() {
  using Struct = PoolBandsArguments;
  return {ATROUS_FIELD(pool),      ATROUS_FIELD(x_image), ATROUS_FIELD(x_plane),      ATROUS_FIELD(y_image),
          ATROUS_FIELD(y_plane),   ATROUS_FIELD(items),   ATROUS_FIELD(image_planes), ATROUS_FIELD(inner),
          ATROUS_FIELD(groups),    ATROUS_FIELD(planes),  ATROUS_FIELD(strips),       ATROUS_FIELD(strip_rows),
          ATROUS_FIELD(parts),     ATROUS_FIELD(x_pitch), ATROUS_FIELD(y_pitch),      ATROUS_FIELD(run_step),
          ATROUS_FIELD(run_lanes), ATROUS_FIELD(by_rows), ATROUS_FIELD(is_whole),     {"sizeof", sizeof(Struct)}};
}

inline StructLayout patch_arguments_layout() {
  using Struct = PatchArguments;
  return {ATROUS_FIELD(window_rows),    ATROUS_FIELD(window_columns), ATROUS_FIELD(row_patches),
          ATROUS_FIELD(column_patches), ATROUS_FIELD(rows),           ATROUS_FIELD(columns),
          ATROUS_FIELD(is_average),     ATROUS_FIELD(reserved),       {"sizeof", sizeof(Struct)}};
}

inline StructLayout conv_pool_arguments_layout() {
  using Struct = ConvPoolArguments;
  return {ATROUS_FIELD(gemm), ATROUS_FIELD(pool), ATROUS_FIELD(patch), {"sizeof", sizeof(Struct)}};
}

inline StructLayout first_pool_arguments_layout() {
  using Struct = FirstPoolArguments;
  return {ATROUS_FIELD(first), ATROUS_FIELD(pool), ATROUS_FIELD(patch), {"sizeof", sizeof(Struct)}};
}

inline StructLayout separable_arguments_layout() {
  using Struct = SeparableArguments;
  return {ATROUS_FIELD(depthwise_weight),
          ATROUS_FIELD(depthwise_scale),
          ATROUS_FIELD(depthwise_bias),
          ATROUS_FIELD(gemm),
          ATROUS_FIELD(depthwise_epilogue),
          ATROUS_FIELD(h),
          ATROUS_FIELD(w),
          ATROUS_FIELD(r),
          ATROUS_FIELD(s),
          ATROUS_FIELD(stride_h),
          ATROUS_FIELD(stride_w),
          ATROUS_FIELD(dilation_h),
          ATROUS_FIELD(pad_top),
          ATROUS_FIELD(pad_left),
          ATROUS_FIELD(padding_mode),
          ATROUS_FIELD(row_tiles),
          ATROUS_FIELD(column_tiles),
          ATROUS_FIELD(groups_log2),
          ATROUS_FIELD(halo_rows),
          ATROUS_FIELD(halo_columns),
          ATROUS_FIELD(row_cells),
          ATROUS_FIELD(slice_cells),
          ATROUS_FIELD(reserved),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout probe_arguments_layout() {
  using Struct = ProbeArguments;
  return {ATROUS_FIELD(x),     ATROUS_FIELD(w),    ATROUS_FIELD(y),
          ATROUS_FIELD(count), ATROUS_FIELD(size), {"sizeof", sizeof(Struct)}};
}

inline StructLayout tensor_map_request_layout() {
  using Struct = TensorMapRequest;
  return {ATROUS_FIELD(kind),
          ATROUS_FIELD(element_type),
          ATROUS_FIELD(rank),
          ATROUS_FIELD(swizzle),
          ATROUS_FIELD(sizes),
          ATROUS_FIELD(strides),
          ATROUS_FIELD(box),
          ATROUS_FIELD(element_strides),
          ATROUS_FIELD(lower_corner),
          ATROUS_FIELD(upper_corner),
          ATROUS_FIELD(channels_per_pixel),
          ATROUS_FIELD(pixels_per_column),
          ATROUS_FIELD(pointer_slot),
          ATROUS_FIELD(offset),
          {"sizeof", sizeof(Struct)}};
}

inline StructLayout first_arguments_layout() {
  using Struct = FirstArguments;
  return {ATROUS_FIELD(conv),           ATROUS_FIELD(weight_row),     ATROUS_FIELD(weight_plane),
          ATROUS_FIELD(weight_sums),    ATROUS_FIELD(patches),        ATROUS_FIELD(row_patches),
          ATROUS_FIELD(column_patches), ATROUS_FIELD(patch_rows),     ATROUS_FIELD(patch_columns),
          ATROUS_FIELD(chunks),         ATROUS_FIELD(channels),       ATROUS_FIELD(run_pieces),
          ATROUS_FIELD(weight_slots),   ATROUS_FIELD(halo_rows),      ATROUS_FIELD(halo_columns),
          ATROUS_FIELD(tap_rows),       ATROUS_FIELD(row_bytes),      ATROUS_FIELD(phases),
          ATROUS_FIELD(phase_columns),  ATROUS_FIELD(channels_first), ATROUS_FIELD(row_threads_log2),
          ATROUS_FIELD(reserved),       {"sizeof", sizeof(Struct)}};
}

inline StructLayout elementwise_arguments_layout() {
  using Struct = ElementwiseArguments;
  return {ATROUS_FIELD(x),           ATROUS_FIELD(other),        ATROUS_FIELD(y),         ATROUS_FIELD(sizes),
          ATROUS_FIELD(x_stride),    ATROUS_FIELD(other_stride), ATROUS_FIELD(y_stride),  ATROUS_FIELD(epilogue),
          ATROUS_FIELD(x_type),      ATROUS_FIELD(x_vectors),    ATROUS_FIELD(y_vectors), ATROUS_FIELD(reserved),
          {"sizeof", sizeof(Struct)}};
}

#undef ATROUS_FIELD

// The fields of the struct in order, closed by ("sizeof", its size); empty where no argument struct has that name.
inline StructLayout struct_layout(const std::string& name) {
  if (name == "Epilogue") return epilogue_layout();
  if (name == "ConvArguments") return conv_arguments_layout();
  if (name == "FinishArguments") return finish_arguments_layout();
  if (name == "PackArguments") return pack_arguments_layout();
  if (name == "GemmArguments") return gemm_arguments_layout();
  if (name == "DepthwiseArguments") return depthwise_arguments_layout();
  if (name == "PlanesArguments") return planes_arguments_layout();
  if (name == "GroupedArguments") return grouped_arguments_layout();
  if (name == "LargeArguments") return large_arguments_layout();
  if (name == "PoolArguments") return pool_arguments_layout();
  if (name == "PlaneRunsArguments") return plane_runs_arguments_layout();
  if (name == "PoolBandsArguments") return pool_bands_arguments_layout();
  if (name == "PoolStreamArguments") return pool_stream_arguments_layout();
  if (name == "PatchArguments") return patch_arguments_layout();
  if (name == "ConvPoolArguments") return conv_pool_arguments_layout();
  if (name == "SeparableArguments") return separable_arguments_layout();
  if (name == "ProbeArguments") return probe_arguments_layout();
  if (name == "TensorMapRequest") return tensor_map_request_layout();
  if (name == "FirstArguments") return first_arguments_layout();
  if (name == "FirstPoolArguments") return first_pool_arguments_layout();
  if (name == "ElementwiseArguments") return elementwise_arguments_layout();
  return {};
}

}  // namespace atrous
