// The instances of the probes of rates and of halo tiles, for sm_90a alone.
#include "atrous/probes/halo.cuh"
#include "atrous/probes/rate_copy.cuh"
#include "atrous/probes/rate_loads.cuh"
#include "atrous/probes/rate_wgmma.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_rates(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_copy_vectors<4>));
  entries.push_back(ATROUS_KERNEL(probe_empty));
  entries.push_back(ATROUS_KERNEL(probe_resident_wgmma<64, bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_resident_wgmma<128, bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_resident_wgmma<192, bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_resident_wgmma<256, bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_stream_im2col));
  entries.push_back(ATROUS_KERNEL(probe_stream_tiles));
  entries.push_back(ATROUS_KERNEL(probe_stream_multicast));
  entries.push_back(ATROUS_KERNEL(probe_halo_stored<true>));
  entries.push_back(ATROUS_KERNEL(probe_halo_stored<false>));
  entries.push_back(ATROUS_KERNEL(probe_halo_copied<true>));
  entries.push_back(ATROUS_KERNEL(probe_halo_copied<false>));
}

}  // namespace atrous
