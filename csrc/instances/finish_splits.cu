// The instances of finish_splits: float and integer sums, either layout of y.
#include "atrous/kernels/finish_splits.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_finish_splits(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(finish_splits<float32, Nhwc>));
  entries.push_back(ATROUS_KERNEL(finish_splits<float32, Nchw>));
  entries.push_back(ATROUS_KERNEL(finish_splits<int32, Nhwc>));
  entries.push_back(ATROUS_KERNEL(finish_splits<int32, Nchw>));
}

}  // namespace atrous
