// The list of kernel families and the look-up by name.
#include "table.hpp"

#include <string>
#include <unordered_map>

namespace atrous {

namespace {

using AddEntries = void (*)(std::vector<KernelEntry>& entries);

constexpr AddEntries kFamilies[] = {
    add_conv_depthwise,
    add_conv_depthwise_large,
    add_conv_depthwise_planes,
    add_conv_direct,
    add_conv_first,
    add_conv_first_pool,
    add_conv_grouped,
    add_conv_igemm_sm80,
    add_conv_igemm_sm80_bfloat16,
    add_conv_igemm_sm80_float32,
    add_conv_igemm_sm80_integer,
    add_conv_pointwise,
    add_conv_pool,
    add_conv_separable,
    add_elementwise,
    add_finish_splits,
    add_pack_weight,
    add_pool,
    add_pool_bands,
    add_pool_stream,
    add_transpose,
    add_probes_async_copy,
    add_probes_gemm_sm80,
    add_probes_matrix,
    add_probes_warp,
};

// The simulator runs every kernel; the device's table has these where nvcc was asked for sm_90a.
const std::vector<AddEntries> kSm90Families = {
#if defined(ATROUS_SIMULATED) || defined(ATROUS_WITH_SM90)
    add_probes_gemm_sm90, add_probes_matrix_sm90, add_probes_mbarrier,
    add_probes_rates,     add_probes_tensor_copy, add_probes_wgmma,
#endif
};

}  // namespace

const std::vector<KernelEntry>& kernel_table() {
  static const std::vector<KernelEntry> table = [] {
    std::vector<KernelEntry> entries;
    for (AddEntries add : kFamilies) add(entries);
    const std::size_t everywhere = entries.size();
    for (AddEntries add : kSm90Families) add(entries);
    for (std::size_t i = everywhere; i < entries.size(); ++i) entries[i].needs_sm90a = true;
    return entries;
  }();
  return table;
}

const KernelEntry* find_kernel(const char* name) {
  static const std::unordered_map<std::string, const KernelEntry*> by_name = [] {
    std::unordered_map<std::string, const KernelEntry*> map;
    for (const KernelEntry& entry : kernel_table()) map.emplace(entry.name, &entry);
    return map;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

}  // namespace atrous
