// The instances of pool_stream for float32: strips, and single windows.
#include "atrous/kernels/pool_stream.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_stream_float32(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Whole, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Whole, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<float32, Whole, LpReduction>));
}

}  // namespace atrous
