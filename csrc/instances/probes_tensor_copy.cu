// The instances of the probes of the copy engine, for sm_90a alone.
#include "atrous/probes/tensor_copy.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_tensor_copy(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_load_tile<1>));
  entries.push_back(ATROUS_KERNEL(probe_load_tile<2>));
  entries.push_back(ATROUS_KERNEL(probe_load_tile<3>));
  entries.push_back(ATROUS_KERNEL(probe_load_tile<4>));
  entries.push_back(ATROUS_KERNEL(probe_load_tile<5>));
  entries.push_back(ATROUS_KERNEL(probe_load_im2col<3>));
  entries.push_back(ATROUS_KERNEL(probe_load_im2col<4>));
  entries.push_back(ATROUS_KERNEL(probe_load_im2col<5>));
  entries.push_back(ATROUS_KERNEL(probe_multicast));
  entries.push_back(ATROUS_KERNEL(probe_store_tile<1>));
  entries.push_back(ATROUS_KERNEL(probe_store_tile<2>));
  entries.push_back(ATROUS_KERNEL(probe_store_tile<3>));
  entries.push_back(ATROUS_KERNEL(probe_store_tile<4>));
  entries.push_back(ATROUS_KERNEL(probe_store_tile<5>));
  entries.push_back(ATROUS_KERNEL(probe_copy_bulk));
}

}  // namespace atrous
