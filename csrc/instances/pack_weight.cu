// The instances of pack_weight: every element of a tensor-core product.
#include "atrous/kernels/pack_weight.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_pack_weight(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(pack_weight<float16>));
  entries.push_back(ATROUS_KERNEL(pack_weight<bfloat16>));
  entries.push_back(ATROUS_KERNEL(pack_weight<float32>));
  entries.push_back(ATROUS_KERNEL(pack_weight<int8>));
  entries.push_back(ATROUS_KERNEL(pack_weight<uint8>));
}

}  // namespace atrous
