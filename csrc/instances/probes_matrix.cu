// The probes of ldmatrix, mma the rounding to tf32 and the split into two.
#include "atrous/probes/matrix.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_matrix(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<1, false>));
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<2, false>));
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<4, false>));
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<1, true>));
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<2, true>));
  entries.push_back(ATROUS_KERNEL(probe_load_matrix<4, true>));
  entries.push_back(ATROUS_KERNEL(probe_mma<float16>));
  entries.push_back(ATROUS_KERNEL(probe_mma<bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_mma<float32>));
  entries.push_back(ATROUS_KERNEL(probe_mma<int8>));
  entries.push_back(ATROUS_KERNEL(probe_mma<uint8>));
  entries.push_back(ATROUS_KERNEL(probe_round_tf32<float32>));
  entries.push_back(ATROUS_KERNEL(probe_split_tf32<float32>));
}

}  // namespace atrous
