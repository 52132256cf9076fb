// The instances of pool_stream for bfloat16: strips, and single windows.
#include "atrous/kernels/pool_stream.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_stream_bfloat16(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Strips, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Strips, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Strips, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Whole, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Whole, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<bfloat16, Whole, LpReduction>));
}

}  // namespace atrous
