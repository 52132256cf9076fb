// The instances of the probes of mbarrier, for sm_90a: its waits that suspend a thread came with that.
#include "atrous/probes/mbarrier.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_mbarrier(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_barrier_ring<3, false>));
  entries.push_back(ATROUS_KERNEL(probe_barrier_ring<2, true>));
  entries.push_back(ATROUS_KERNEL(probe_barrier_cluster<2>));
}

}  // namespace atrous
