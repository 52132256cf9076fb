// The probes of stmatrix, which sm_90 brought.
#include "atrous/probes/matrix.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_matrix_sm90(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<1, false>));
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<2, false>));
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<4, false>));
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<1, true>));
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<2, true>));
  entries.push_back(ATROUS_KERNEL(probe_store_matrix<4, true>));
}

}  // namespace atrous
