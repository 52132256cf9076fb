// The instances of the probes of shuffles, ballots, barriers, packed maxima, casts and activations.
#include "atrous/probes/warp.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_warp(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_shuffles<int32>));
  entries.push_back(ATROUS_KERNEL(probe_shuffles<int64>));
  entries.push_back(ATROUS_KERNEL(probe_shuffles<float32>));
  entries.push_back(ATROUS_KERNEL(probe_ballot));
  entries.push_back(ATROUS_KERNEL(probe_rounds));
  entries.push_back(ATROUS_KERNEL(probe_packed_max<float32>));
  entries.push_back(ATROUS_KERNEL(probe_packed_max<float16>));
  entries.push_back(ATROUS_KERNEL(probe_packed_max<bfloat16>));
  entries.push_back(ATROUS_KERNEL(probe_packed_max<int8>));
  entries.push_back(ATROUS_KERNEL(probe_packed_max<uint8>));
  entries.push_back(ATROUS_KERNEL(probe_cast<float32>));
  entries.push_back(ATROUS_KERNEL(probe_cast<float64>));
  entries.push_back(ATROUS_KERNEL(probe_activation<float32>));
  entries.push_back(ATROUS_KERNEL(probe_activation<float64>));
}

}  // namespace atrous
