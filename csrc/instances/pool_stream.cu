// The instances of pool_stream: those of integers here, those of each other type in a file of their own.
#include "atrous/kernels/pool_stream.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pool_stream_bfloat16(std::vector<KernelEntry>& entries);
void add_pool_stream_float16(std::vector<KernelEntry>& entries);
void add_pool_stream_float32(std::vector<KernelEntry>& entries);

void add_pool_stream(std::vector<KernelEntry>& entries) {
  add_pool_stream_bfloat16(entries);
  add_pool_stream_float16(entries);
  add_pool_stream_float32(entries);
  entries.push_back(ATROUS_KERNEL(pool_stream<int8, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<int8, Whole, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<uint8, Strips, MaxReduction>));
  entries.push_back(ATROUS_KERNEL(pool_stream<uint8, Whole, MaxReduction>));
}

}  // namespace atrous
