// The table of kernels that are built ahead of time: the same list for the device and for the simulator.
#pragma once

#include <cstddef>
#include <vector>

namespace atrous {

struct KernelEntry {
  const char* name;             // the C++ expression in namespace atrous
  const void* function;         // the kernel, as the CUDA runtime takes it
  std::size_t parameter_bytes;  // of its one argument
  bool needs_sm90a;             // its instructions are those of sm_90a alone
#ifdef ATROUS_SIMULATED
  void (*invoke)(const void* function, const void* parameters);  // runs one thread
#endif
};

#ifdef ATROUS_SIMULATED
template <class Arguments>
void invoke_kernel(const void* function, const void* parameters) {
  reinterpret_cast<void (*)(Arguments)>(const_cast<void*>(function))(*static_cast<const Arguments*>(parameters));
}
#endif

template <class Arguments>
KernelEntry kernel_entry(const char* name, void (*kernel)(Arguments)) {
  KernelEntry entry{};
  entry.name = name;
  entry.function = reinterpret_cast<const void*>(kernel);
  entry.parameter_bytes = sizeof(Arguments);
#ifdef ATROUS_SIMULATED
  entry.invoke = &invoke_kernel<Arguments>;
#endif
  return entry;
}

// ATROUS_KERNEL(conv_direct<float32, Nhwc, int32, WideTile>): one entry, named exactly as written.
#define ATROUS_KERNEL(...) ::atrous::kernel_entry(#__VA_ARGS__, &__VA_ARGS__)

// One a family, in csrc/instances/FAMILY.cu; those of the probes, in csrc/instances/probes_NAME.cu, come last.
void add_conv_depthwise(std::vector<KernelEntry>& entries);
void add_conv_depthwise_large(std::vector<KernelEntry>& entries);
void add_conv_depthwise_planes(std::vector<KernelEntry>& entries);
void add_conv_direct(std::vector<KernelEntry>& entries);
void add_conv_first(std::vector<KernelEntry>& entries);
void add_conv_first_pool(std::vector<KernelEntry>& entries);
void add_conv_grouped(std::vector<KernelEntry>& entries);
void add_conv_igemm_sm80(std::vector<KernelEntry>& entries);
void add_conv_igemm_sm80_bfloat16(std::vector<KernelEntry>& entries);
void add_conv_igemm_sm80_float32(std::vector<KernelEntry>& entries);
void add_conv_igemm_sm80_integer(std::vector<KernelEntry>& entries);
void add_conv_pool(std::vector<KernelEntry>& entries);
void add_conv_pointwise(std::vector<KernelEntry>& entries);
void add_conv_separable(std::vector<KernelEntry>& entries);
void add_elementwise(std::vector<KernelEntry>& entries);
void add_finish_splits(std::vector<KernelEntry>& entries);
void add_pack_weight(std::vector<KernelEntry>& entries);
void add_pool(std::vector<KernelEntry>& entries);
void add_pool_bands(std::vector<KernelEntry>& entries);
void add_pool_stream(std::vector<KernelEntry>& entries);
void add_transpose(std::vector<KernelEntry>& entries);
void add_probes_async_copy(std::vector<KernelEntry>& entries);
void add_probes_gemm_sm80(std::vector<KernelEntry>& entries);
void add_probes_matrix(std::vector<KernelEntry>& entries);
void add_probes_warp(std::vector<KernelEntry>& entries);

// One a family that is built for sm_90a alone, as CMakeLists.txt lists them in ATROUS_INSTANCES_SM90.
void add_probes_gemm_sm90(std::vector<KernelEntry>& entries);
void add_probes_matrix_sm90(std::vector<KernelEntry>& entries);
void add_probes_mbarrier(std::vector<KernelEntry>& entries);
void add_probes_rates(std::vector<KernelEntry>& entries);
void add_probes_tensor_copy(std::vector<KernelEntry>& entries);
void add_probes_wgmma(std::vector<KernelEntry>& entries);

// Every entry, in the order of the families; those for sm_90a are missing where the build has none.
const std::vector<KernelEntry>& kernel_table();

// The entry of that name, or null.
const KernelEntry* find_kernel(const char* name);

}  // namespace atrous
