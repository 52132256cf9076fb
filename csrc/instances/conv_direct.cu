// The instances of conv_direct: every dtype, layout, index width and tile.
#include "atrous/kernels/conv_direct.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_direct(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float16, Nchw, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<bfloat16, Nchw, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float32, Nchw, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<float64, Nchw, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<int8, Nchw, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nhwc, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nhwc, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nhwc, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nhwc, int64, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nchw, int32, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nchw, int32, NarrowTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nchw, int64, WideTile>));
  entries.push_back(ATROUS_KERNEL(conv_direct<uint8, Nchw, int64, NarrowTile>));
}

}  // namespace atrous
