// The instances of conv_igemm_sm80 with bfloat16 elements: every loader and tile, and those that sum segments.
#include "atrous/kernels/conv_igemm_sm80.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_conv_igemm_sm80_bfloat16(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, Tile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, Tile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, Tile64x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, Tile64x32>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, SegmentTile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Pieces, SegmentTile128x64>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, SegmentTile128x128>));
  entries.push_back(ATROUS_KERNEL(conv_igemm_sm80<Bfloat16Mma, Elements, SegmentTile128x64>));
}

}  // namespace atrous
