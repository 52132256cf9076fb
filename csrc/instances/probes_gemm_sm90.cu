// The instances of the probe of a whole matrix product on sm_90.
#include "atrous/probes/gemm_sm90.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_gemm_sm90(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm90<float16>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm90<bfloat16>));
}

}  // namespace atrous
