// The probes of a matrix product of cp.async, ldmatrix and mma in stages: every element type, both layouts of rows.
#include "atrous/probes/gemm_sm80.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_gemm_sm80(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<float16, PaddedRows>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<bfloat16, SwizzledRows>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<float32, SwizzledRows>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<int8, SwizzledRows>));
  entries.push_back(ATROUS_KERNEL(probe_gemm_sm80<uint8, PaddedRows>));
}

}  // namespace atrous
