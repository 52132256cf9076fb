// The instances of elementwise: its two arithmetics.
#include "atrous/kernels/elementwise.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_elementwise(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(elementwise<float32>));
  entries.push_back(ATROUS_KERNEL(elementwise<float64>));
}

}  // namespace atrous
