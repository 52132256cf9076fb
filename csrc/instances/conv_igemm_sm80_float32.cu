// The instances of conv_igemm_sm80 with float32 elements, by three products of tf32 or by one: every loader and tile.
#include "atrous/kernels/conv_igemm_sm80.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_igemm_sm80_float32(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Pieces, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Pieces, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Pieces, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Pieces, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Elements, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Elements, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Elements, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32x3Mma, Elements, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Elements, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Elements, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Elements, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Tf32Mma, Elements, Tile64x32>));
}

}  // namespace atrous
