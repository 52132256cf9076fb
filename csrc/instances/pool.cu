// The instances of pool: those for int8 and uint8, and the lists of the other dtypes, which build beside this one.
#include "atrous/kernels/pool.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_float32(std::vector<KernelEntry>& entries);
void add_pool_float16(std::vector<KernelEntry>& entries);
void add_pool_bfloat16(std::vector<KernelEntry>& entries);
void add_pool_float64(std::vector<KernelEntry>& entries);

void add_pool(std::vector<KernelEntry>& entries) {
  for (auto add : {add_pool_float32, add_pool_float16, add_pool_bfloat16, add_pool_float64}) add(entries);
  entries.push_back(ATROUS_KERNEL(pool<int8, Nhwc, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nhwc, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nchw, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nchw, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nhwc, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nhwc, int64, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nchw, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<int8, Nchw, int64, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nhwc, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nhwc, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nchw, int32, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nchw, int64, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nhwc, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nhwc, int64, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nchw, int32, MaxIndexReduction>));
  entries.push_back(ATROUS_KERNEL(pool<uint8, Nchw, int64, MaxIndexReduction>));
}

}  // namespace atrous
