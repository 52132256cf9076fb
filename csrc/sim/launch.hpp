// What the simulator is asked to run, and the checks that CUDA makes of a launch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "instances/table.hpp"

namespace atrous::sim {

// Everything the simulator refuses or finds wrong.
class SimulatorError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Extent {
  long long x = 1, y = 1, z = 1;
};

struct LaunchRequest {
  const KernelEntry* kernel = nullptr;
  Extent grid;
  Extent block;
  Extent cluster;
  long long shared_bytes = 0;
  const void* parameters = nullptr;  // [parameter_bytes]
  std::size_t parameter_bytes = 0;
  const std::vector<long long>* blocks = nullptr;  // run only these, counted x fastest, and what shares their clusters
};

std::string to_string(const Extent& extent);  // "(1, 2, 3)"

// Throws SimulatorError with the first thing that CUDA would refuse.
void check_launch(const LaunchRequest& request);

// The clusters that hold request.blocks, counted x fastest, each once and in rising order; empty if all run.
std::vector<std::uint64_t> chosen_clusters(const LaunchRequest& request);

}  // namespace atrous::sim
