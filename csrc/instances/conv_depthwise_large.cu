// The instances of conv_depthwise_large: every float of 16 bits with every number of columns that a warp holds.
#include "atrous/kernels/conv_depthwise_large.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_depthwise_large(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<float16, Columns56>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<float16, Columns32>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<float16, Columns16>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<float16, Columns8>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<bfloat16, Columns56>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<bfloat16, Columns32>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<bfloat16, Columns16>));
  entries.push_back(ATROUS_KERNEL(conv_depthwise_large<bfloat16, Columns8>));
}

}  // namespace atrous
