// The instances of pool_stream for bfloat16: strips in both layouts, and single windows in Nhwc.
#include "atrous/kernels/pool_stream.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_stream_bfloat16(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nchw, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nchw, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nchw, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nchw, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Whole, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Whole, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Nhwc, Whole, LpReduction>));
}

}  // namespace atrous
