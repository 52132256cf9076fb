// The calls of the CUDA runtime, each checked; the one file of the module that knows the runtime.
#include "runtime_calls.hpp"

#include <cuda_runtime.h>

#include <map>
#include <mutex>
#include <utility>

namespace atrous::runtime {

namespace {

// What a machine without a fitting driver or device answers to the first question, today and tomorrow.
bool is_settled(cudaError_t status) {
  switch (status) {
    case cudaErrorStubLibrary:
    case cudaErrorInsufficientDriver:
    case cudaErrorNoDevice:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
      return true;
    default:
      return false;
  }
}

void check(cudaError_t status, const char* operation, Kind kind = Kind::kFailed) {
  if (status == cudaSuccess) return;
  // Takes a passing error off the thread's record, where the next library would find it and take it for its own.
  cudaGetLastError();
  if (status == cudaErrorMemoryAllocation) kind = Kind::kNoMemory;
  throw Failure(kind, std::string("[") + operation + "] CUDA error " + std::to_string(static_cast<int>(status)) + ", " +
                          cudaGetErrorName(status) + ": " + cudaGetErrorString(status) +
                          "; expected success; see that the device, its memory and its driver are in "
                          "order.");
}

}  // namespace

void launch(const KernelEntry& entry, const LaunchShape& shape, void* stream, void* image) {
  cudaLaunchAttribute cluster{};
  cluster.id = cudaLaunchAttributeClusterDimension;
  cluster.val.clusterDim.x = shape.cluster[0];
  cluster.val.clusterDim.y = shape.cluster[1];
  cluster.val.clusterDim.z = shape.cluster[2];
  cudaLaunchConfig_t config{};
  config.gridDim = dim3{shape.grid[0], shape.grid[1], shape.grid[2]};
  config.blockDim = dim3{shape.block[0], shape.block[1], shape.block[2]};
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &cluster;
  config.numAttrs = shape.cluster == Triple{1, 1, 1} ? 0 : 1;
  void* arguments[] = {image};
  check(cudaLaunchKernelExC(&config, entry.function, arguments), entry.name);
}

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

void raise_shared_limit(const KernelEntry& entry, int device, std::size_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, std::size_t> limits;
  const std::lock_guard<std::mutex> lock(mutex);
  std::size_t& limit = limits[{entry.function, device}];
  if (bytes <= limit) return;
  check(cudaFuncSetAttribute(entry.function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        entry.name);
  limit = bytes;
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  check(status, "cudaGetDeviceCount", is_settled(status) ? Kind::kNoDevice : Kind::kFailed);
  return count;
}

DeviceFacts device_facts(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  DeviceFacts facts{};
  facts.name = properties.name;
  facts.major = properties.major;
  facts.minor = properties.minor;
  facts.multiprocessors = properties.multiProcessorCount;
  facts.l2_bytes = properties.l2CacheSize;
  facts.driver = driver;
  facts.memory_bytes = properties.totalGlobalMem;
  facts.shared_bytes = properties.sharedMemPerBlockOptin;
  return facts;
}

int runtime_version() {
  int version = 0;
  check(cudaRuntimeGetVersion(&version), "cudaRuntimeGetVersion");
  return version;
}

}  // namespace atrous::runtime
