// The instances of conv_pool: one pair of tiles for each arithmetic.
#include "atrous/kernels/conv_pool.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_pool(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_pool<Float16Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_pool<Float16Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_pool<Bfloat16Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_pool<Bfloat16Mma, Pieces, Tile64x64>));
}

}  // namespace atrous
