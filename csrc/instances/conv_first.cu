// The instances of conv_first: every arithmetic of the tensor cores in the tiles whose sums its registers hold.
#include "atrous/kernels/conv_first.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_first(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_first<Float16Mma, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Float16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Float16Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first<Bfloat16Mma, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Bfloat16Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Bfloat16Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first<Tf32Mma, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Tf32Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Tf32Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first<Tf32x3Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Tf32x3Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first<Int8Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Int8Mma, Tile128x32>));
  entries.push_back(ATROUS_KERNEL(conv_first<Uint8Mma, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_first<Uint8Mma, Tile128x32>));
}

}  // namespace atrous
