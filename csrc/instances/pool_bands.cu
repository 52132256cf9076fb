// The instances of pool_bands.
#include "atrous/kernels/pool_bands.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_bands(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool_bands<float32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float32, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float32, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float32, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float16, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float16, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float16, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<float16, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<bfloat16, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<bfloat16, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<bfloat16, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<bfloat16, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<int8, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_bands<uint8, MaxReduction>));
}

}  // namespace atrous
