# The simulator, atrous._sim: the kernels' own text compiled by the host compiler against csrc/sim. In the same library
# lies the module of the CUDA extension behind a fake runtime, whose launches run on the simulator: the tests load it.

set(ATROUS_SIM_SOURCES
  csrc/sim_module.cpp
  csrc/module.cpp
  csrc/runtime_calls.cpp
  csrc/instances/table.cpp
  csrc/sim/async_copy.cpp
  csrc/sim/cluster.cpp
  csrc/sim/bulk_groups.cpp
  csrc/sim/context.cpp
  csrc/sim/deadlock.cpp
  csrc/sim/fake_runtime.cpp
  csrc/sim/flights.cpp
  csrc/sim/launch.cpp
  csrc/sim/machine.cpp
  csrc/sim/matrix.cpp
  csrc/sim/mbarrier.cpp
  csrc/sim/mma.cpp
  csrc/sim/primitives.cpp
  csrc/sim/race.cpp
  csrc/sim/race_clocks.cpp
  csrc/sim/race_report.cpp
  csrc/sim/race_shadow.cpp
  csrc/sim/services.cpp
  csrc/sim/shared_memory.cpp
  csrc/sim/stacks.cpp
  csrc/sim/tensor_copy.cpp
  csrc/sim/tensor_map.cpp
  csrc/sim/tensor_rows.cpp
  csrc/sim/test_kernels.cpp
  csrc/sim/test_kernels_barriers.cpp
  csrc/sim/test_kernels_gemm.cpp
  csrc/sim/test_kernels_gemm_sm90.cpp
  csrc/sim/test_kernels_matrix.cpp
  csrc/sim/test_kernels_flights.cpp
  csrc/sim/test_kernels_machine.cpp
  csrc/sim/test_kernels_output.cpp
  csrc/sim/test_kernels_tensor_copy.cpp
  csrc/sim/test_kernels_race.cpp
  csrc/sim/test_kernels_race_cluster.cpp
  csrc/sim/test_kernels_traffic.cpp
  csrc/sim/traffic.cpp
  csrc/sim/traffic_count.cpp
  csrc/sim/tsan_hooks.cpp
  csrc/sim/waits.cpp
  csrc/sim/warpgroup.cpp
  csrc/sim/test_kernels_wgmma.cpp
  csrc/sim/wgmma.cpp
  csrc/sim/wgmma_state.cpp
)
foreach(instance IN LISTS ATROUS_INSTANCES ATROUS_INSTANCES_SM90)
  # A .cu source would be given to nvcc wherever CUDA is enabled, so a .cpp that includes it is compiled instead.
  set(wrapper "${CMAKE_CURRENT_BINARY_DIR}/sim/${instance}.cpp")
  file(CONFIGURE OUTPUT "${wrapper}" CONTENT "#include \"instances/${instance}.cu\"\n")
  list(APPEND ATROUS_SIM_SOURCES "${wrapper}")
endforeach()

pybind11_add_module(_sim MODULE NO_EXTRAS ${ATROUS_SIM_SOURCES})
target_include_directories(_sim PRIVATE csrc/sim/include csrc/include csrc)
target_compile_definitions(_sim PRIVATE ATROUS_SIMULATED "ATROUS_ARCHITECTURES=\"host\"" "ATROUS_NVCC_VERSION=\"none\"")
# No contraction of a * b + c but where the kernels say fma: the same sums on every host.
# GCC notes that it once passed arguments aligned to 64 bytes, as those with tensor maps are, in another way.
target_compile_options(_sim PRIVATE -O2 -ffp-contract=off $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi> "SHELL:-include atrous_sim/cuda_words.hpp")
install(TARGETS _sim LIBRARY DESTINATION atrous)
