// Kernels that test the simulator itself: correct ones, and one for every mistake that it must name.
#pragma once

#include <vector>

#include "instances/table.hpp"

namespace atrous {

void add_test_kernels(std::vector<KernelEntry>& entries);
void add_test_kernels_barriers(std::vector<KernelEntry>& entries);
void add_test_kernels_gemm(std::vector<KernelEntry>& entries);
void add_test_kernels_gemm_sm90(std::vector<KernelEntry>& entries);
void add_test_kernels_matrix(std::vector<KernelEntry>& entries);
void add_test_kernels_output(std::vector<KernelEntry>& entries);
void add_test_kernels_race(std::vector<KernelEntry>& entries);
void add_test_kernels_race_cluster(std::vector<KernelEntry>& entries);
void add_test_kernels_machine(std::vector<KernelEntry>& entries);
void add_test_kernels_flights(std::vector<KernelEntry>& entries);
void add_test_kernels_tensor_copy(std::vector<KernelEntry>& entries);
void add_test_kernels_traffic(std::vector<KernelEntry>& entries);
void add_test_kernels_wgmma(std::vector<KernelEntry>& entries);

// One a file of csrc/sim/test_kernels*.cpp.
inline constexpr void (*kTestKernels[])(std::vector<KernelEntry>& entries) = {
    add_test_kernels,         add_test_kernels_barriers,     add_test_kernels_gemm,    add_test_kernels_gemm_sm90,
    add_test_kernels_matrix,  add_test_kernels_machine,      add_test_kernels_flights, add_test_kernels_tensor_copy,
    add_test_kernels_race,    add_test_kernels_race_cluster, add_test_kernels_wgmma,   add_test_kernels_output,
    add_test_kernels_traffic,
};

}  // namespace atrous
