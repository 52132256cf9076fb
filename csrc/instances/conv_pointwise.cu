// The instances of conv_pointwise: every float dtype, layout and index width.
#include "atrous/kernels/conv_pointwise.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_pointwise(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float16, Nhwc, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float16, Nhwc, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float16, Nchw, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float16, Nchw, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<bfloat16, Nhwc, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<bfloat16, Nhwc, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<bfloat16, Nchw, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<bfloat16, Nchw, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float32, Nhwc, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float32, Nhwc, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float32, Nchw, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float32, Nchw, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float64, Nhwc, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float64, Nhwc, int64>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float64, Nchw, int32>));
  entries.push_back(ATROUS_KERNEL(conv_pointwise<float64, Nchw, int64>));
}

}  // namespace atrous
