// The instances of the probes of cp.async.
#include "atrous/probes/async_copy.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_async_copy(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_copy_async<4>));
  entries.push_back(ATROUS_KERNEL(probe_copy_async<8>));
  entries.push_back(ATROUS_KERNEL(probe_copy_async<16>));
  entries.push_back(ATROUS_KERNEL(probe_copy_ring<3>));
  entries.push_back(ATROUS_KERNEL(probe_copy_ring<4>));
}

}  // namespace atrous
