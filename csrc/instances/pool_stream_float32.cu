// The instances of pool_stream for float32: strips in both layouts, and single windows in Nhwc.
#include "atrous/kernels/pool_stream.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_stream_float32(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nchw, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nchw, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nchw, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nchw, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Whole, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Whole, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Nhwc, Whole, LpReduction>));
}

}  // namespace atrous
