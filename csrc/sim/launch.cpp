// The checks that CUDA makes of a launch.
#include "launch.hpp"

#include <algorithm>

#include "shared_memory.hpp"

namespace atrous::sim {

namespace {

constexpr long long kMostThreads = 1024;
constexpr Extent kLargestBlock{1024, 1024, 64};
constexpr Extent kLargestGrid{2147483647, 65535, 65535};
constexpr long long kMostBlocks = 8;  // of a cluster that asks for no more than every device of its kind gives

[[noreturn]] void refuse(const LaunchRequest& request, const std::string& came, const std::string& expected) {
  throw SimulatorError(std::string("[simulator] ") + request.kernel->name + ": " + came + "; expected " + expected +
                       ".");
}

void check_extent(const LaunchRequest& request, const char* what, const Extent& extent, const Extent& largest) {
  const long long sizes[3] = {extent.x, extent.y, extent.z};
  const long long limits[3] = {largest.x, largest.y, largest.z};
  for (int axis = 0; axis < 3; ++axis) {
    if (sizes[axis] < 1 || sizes[axis] > limits[axis])
      refuse(request, std::string("the ") + what + " is " + to_string(extent),
             std::string(1, "xyz"[axis]) + " from 1 to " + std::to_string(limits[axis]));
  }
}

void check_cluster(const LaunchRequest& request) {
  const Extent &grid = request.grid, &cluster = request.cluster;
  check_extent(request, "cluster", cluster, {kMostBlocks, kMostBlocks, kMostBlocks});
  const long long blocks = cluster.x * cluster.y * cluster.z;
  if (blocks > kMostBlocks)
    refuse(request, "the cluster " + to_string(cluster) + " has " + std::to_string(blocks) + " blocks",
           "at most " + std::to_string(kMostBlocks));
  if (grid.x % cluster.x != 0 || grid.y % cluster.y != 0 || grid.z % cluster.z != 0)
    refuse(request, "the grid " + to_string(grid) + " is not whole clusters of " + to_string(cluster),
           "multiples of the cluster on every axis");
}

}  // namespace

std::string to_string(const Extent& extent) {
  return "(" + std::to_string(extent.x) + ", " + std::to_string(extent.y) + ", " + std::to_string(extent.z) + ")";
}

void check_launch(const LaunchRequest& request) {
  check_extent(request, "grid", request.grid, kLargestGrid);
  check_extent(request, "block", request.block, kLargestBlock);
  const long long threads = request.block.x * request.block.y * request.block.z;
  if (threads > kMostThreads)
    refuse(request, "the block " + to_string(request.block) + " has " + std::to_string(threads) + " threads",
           "at most " + std::to_string(kMostThreads));
  check_cluster(request);
  if (request.shared_bytes < 0 || request.shared_bytes > static_cast<long long>(kLargestSharedBytes))
    refuse(request, "the launch asks for " + std::to_string(request.shared_bytes) + " bytes of dynamic shared memory",
           "0 to " + std::to_string(kLargestSharedBytes));
  if (request.parameter_bytes != request.kernel->parameter_bytes)
    refuse(request, "the parameters have " + std::to_string(request.parameter_bytes) + " bytes",
           std::to_string(request.kernel->parameter_bytes) + ", the size of the kernel's argument struct");
}

std::vector<std::uint64_t> chosen_clusters(const LaunchRequest& request) {
  std::vector<std::uint64_t> chosen;
  if (request.blocks == nullptr) return chosen;
  const Extent &grid = request.grid, &cluster = request.cluster;
  const __int128 count = static_cast<__int128>(grid.x) * grid.y * grid.z;
  for (const long long block : *request.blocks) {
    if (block < 0 || block >= count)
      refuse(request, "block " + std::to_string(block) + " of the grid " + to_string(grid) + " is asked for",
             "numbers from 0, x fastest, below its count of blocks");
    const long long x = block % grid.x / cluster.x, y = block / grid.x % grid.y / cluster.y;
    const long long z = block / grid.x / grid.y / cluster.z;
    chosen.push_back(static_cast<std::uint64_t>((z * (grid.y / cluster.y) + y) * (grid.x / cluster.x) + x));
  }
  std::sort(chosen.begin(), chosen.end());
  chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
  return chosen;
}

}  // namespace atrous::sim
