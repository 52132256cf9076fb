// The instances of conv_depthwise: every float of 16 or 32 bits with every window.
#include "atrous/kernels/conv_depthwise.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_depthwise(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, Window3>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, Window3Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, Window5>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, Window5Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, Window7>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float16, AnyWindow>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, Window3>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, Window3Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, Window5>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, Window5Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, Window7>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<bfloat16, AnyWindow>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, Window3>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, Window3Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, Window5>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, Window5Stride2>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, Window7>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise<float32, AnyWindow>));
}

}  // namespace atrous
