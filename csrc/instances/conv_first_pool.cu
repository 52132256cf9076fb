// The instances of conv_first_pool: the tiles of conv_first for each arithmetic of 16 bits.
#include "atrous/kernels/conv_first_pool.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_first_pool(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Float16Mma, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Float16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Float16Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Bfloat16Mma, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Bfloat16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first_pool<Bfloat16Mma, Tile128x32>));
}

}  // namespace atrous
