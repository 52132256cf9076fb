// The instances of conv_separable: both 16-bit arithmetics with tiles of 32, 64 and 128 output channels.
#include "atrous/kernels/conv_separable.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_separable(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_separable<Float16Mma, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_separable<Float16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_separable<Float16Mma, Tile64x128>));
  entries.push_back(ATROUS_KERNEL(conv_separable<Bfloat16Mma, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_separable<Bfloat16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_separable<Bfloat16Mma, Tile64x128>));
}

}  // namespace atrous
