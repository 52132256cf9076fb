// The instances of transpose: every size of an element to every size.
#include "atrous/kernels/transpose.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_transpose(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(transpose<1, 1>));
  entries.push_back(ATROUS_KERNEL(transpose<1, 2>));
  entries.push_back(ATROUS_KERNEL(transpose<1, 4>));
  entries.push_back(ATROUS_KERNEL(transpose<1, 8>));
  entries.push_back(ATROUS_KERNEL(transpose<2, 1>));
  entries.push_back(ATROUS_KERNEL(transpose<2, 2>));
  entries.push_back(ATROUS_KERNEL(transpose<2, 4>));
  entries.push_back(ATROUS_KERNEL(transpose<2, 8>));
  entries.push_back(ATROUS_KERNEL(transpose<4, 1>));
  entries.push_back(ATROUS_KERNEL(transpose<4, 2>));
  entries.push_back(ATROUS_KERNEL(transpose<4, 4>));
  entries.push_back(ATROUS_KERNEL(transpose<4, 8>));
  entries.push_back(ATROUS_KERNEL(transpose<8, 1>));
  entries.push_back(ATROUS_KERNEL(transpose<8, 2>));
  entries.push_back(ATROUS_KERNEL(transpose<8, 4>));
  entries.push_back(ATROUS_KERNEL(transpose<8, 8>));
}

}  // namespace atrous
