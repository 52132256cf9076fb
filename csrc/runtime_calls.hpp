// Every call that the module makes of the CUDA runtime, so that a host model can stand in for all of them.
#pragma once

#include <array>
#include <cstddef>
#include <stdexcept>
#include <string>

#include "instances/table.hpp"

namespace atrous::runtime {

using Triple = std::array<unsigned, 3>;

// Which of the package's exceptions a failed call is.
enum class Kind { kFailed, kNoMemory, kNoDevice };

// A call that failed, with the whole sentence for the user.
class Failure : public std::runtime_error {
 public:
  Failure(Kind kind, const std::string& sentence) : std::runtime_error(sentence), kind(kind) {}
  Kind kind;
};

struct LaunchShape {
  Triple grid, block, cluster;
  std::size_t shared_bytes;  // dynamic
};

struct DeviceFacts {
  std::string name;
  int major, minor, multiprocessors, l2_bytes, driver;
  std::size_t memory_bytes, shared_bytes;
};

// One launch on `stream` of the current device; `image` is the kernel's argument. Neither waits nor allocates.
void launch(const KernelEntry& entry, const LaunchShape& shape, void* stream, void* image);

int current_device();

// Lets the kernel have this many dynamic shared bytes on the current device, which is `device`. A limit that was raised
// further before stays: lowering it would take it from a launch that counts on it.
void raise_shared_limit(const KernelEntry& entry, int device, std::size_t bytes);

int device_count();
DeviceFacts device_facts(int device);
int runtime_version();

}  // namespace atrous::runtime
