// The instances of the probes of wgmma: every N, element type and major.
#include "atrous/probes/wgmma.cuh"
#include "instances/table.hpp"

namespace atrous {

void add_probes_wgmma(std::vector<KernelEntry>& entries) {
  entries.push_back(ATROUS_KERNEL(probe_wgmma<8, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<16, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<24, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<32, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<48, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<80, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<96, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<112, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<144, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<160, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<176, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<192, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<208, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<224, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<240, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<256, bfloat16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<8, float16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, float16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<256, float16, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, bfloat16, prims::Major::kK, prims::Major::kMn>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, bfloat16, prims::Major::kMn, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, bfloat16, prims::Major::kMn, prims::Major::kMn>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, float16, prims::Major::kK, prims::Major::kMn>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, float16, prims::Major::kMn, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<128, float16, prims::Major::kMn, prims::Major::kMn>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<8, prims::Tfloat32, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, prims::Tfloat32, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<256, prims::Tfloat32, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<8, int8, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, int8, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<256, int8, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, uint8, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, prims::Float8E4m3, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma<64, prims::Float8E5m2, prims::Major::kK, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<8, bfloat16, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<128, bfloat16, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<256, bfloat16, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, bfloat16, prims::Major::kMn>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, float16, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, prims::Tfloat32, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, int8, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, uint8, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, prims::Float8E4m3, prims::Major::kK>));
  entries.push_back(ATROUS_KERNEL(probe_wgmma_registers<64, prims::Float8E5m2, prims::Major::kK>));
}

}  // namespace atrous
