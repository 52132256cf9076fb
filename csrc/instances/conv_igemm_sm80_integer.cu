// The instances of conv_igemm_sm80 with 8-bit elements: every loader and tile.
#include "atrous/kernels/conv_igemm_sm80.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_igemm_sm80_integer(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Pieces, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Pieces, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Pieces, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Pieces, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Elements, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Elements, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Elements, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Int8Mma, Elements, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Elements, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Elements, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Elements, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Uint8Mma, Elements, Tile64x32>));
}

}  // namespace atrous
