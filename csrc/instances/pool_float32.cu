// The instances of pool for float32.
#include "atrous/kernels/pool.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_float32(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int64, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int64, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int32, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int64, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int32, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int64, AverageReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int32, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int64, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int32, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int64, LpReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int32, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nhwc, int64, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int32, WeightedReduction>));
  entries.push_back(ATROUS_KERNEL(pool<float32, Nchw, int64, WeightedReduction>));
}

}  // namespace atrous
