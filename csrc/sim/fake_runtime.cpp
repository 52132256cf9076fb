// The fake CUDA runtime: its launches run on the simulated machine, its device 0 says that it is an H200.
#include "fake_runtime.hpp"

#include <cuda_runtime.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atrous/tensor_map.hpp"
#include "instances/table.hpp"
#include "sim/machine.hpp"

namespace atrous::sim {

namespace {

constexpr std::size_t kUnaskedShared = 48 * 1024;
constexpr std::size_t kLargestShared = 227 * 1024;
constexpr std::size_t kRedZone = 256;
constexpr unsigned char kRedByte = 0xa5;
constexpr unsigned char kUnwritten = 0xff;  // new memory: NaN in every float format
constexpr int kCudaVersion = 13000;
constexpr int kMostDevices = 64;

// What one launch holds until it runs: at once, or at every replay of a graph.
struct Work {
  const KernelEntry* kernel = nullptr;
  Extent grid, block, cluster;
  std::size_t shared_bytes = 0;
  std::vector<TensorMap> image;  // the kernel's argument; a tensor map is the strictest in alignment
};

struct Allocation {
  unsigned char* start;
  std::size_t bytes;
};

struct RuntimeState {
  int devices = 1;
  int current = 0;
  std::vector<std::string> calls;
  long failing = 0;  // number of the call that fails, or 0
  cudaError_t error = cudaSuccess;
  bool later = false;
  cudaError_t sticky = cudaSuccess;
  cudaError_t last = cudaSuccess;
  std::string failure;
  std::map<std::pair<const void*, int>, std::size_t> shared_limits;
  std::map<void*, std::vector<Work>> captures;
  bool invalidated = false;
  std::vector<std::vector<Work>> graphs;
  long damaged = 0;
};

RuntimeState state;
std::unordered_map<void*, Allocation> memory;
std::size_t live_bytes = 0;

enum class Use { kPlain, kUnsafe };

cudaError_t told(cudaError_t error) {
  if (error != cudaSuccess) state.last = error;
  return error;
}

// Numbers a call. `idle` becomes whether it should do nothing although it succeeds.
cudaError_t enter(const char* name, Use use, bool* idle = nullptr) {
  state.calls.emplace_back(name);
  if (state.sticky != cudaSuccess) return told(state.sticky);
  if (static_cast<long>(state.calls.size()) == state.failing) {
    if (!state.later) return told(state.error);
    state.sticky = state.error;
    if (idle != nullptr) *idle = true;
    return cudaSuccess;
  }
  if (use == Use::kUnsafe && !state.captures.empty()) {
    state.invalidated = true;
    return told(cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}

const KernelEntry* kernel_of(const void* function) {
  static const std::unordered_map<const void*, const KernelEntry*> by_function = [] {
    std::unordered_map<const void*, const KernelEntry*> map;
    for (const KernelEntry& entry : kernel_table()) map.emplace(entry.function, &entry);
    return map;
  }();
  const auto found = by_function.find(function);
  return found == by_function.end() ? nullptr : found->second;
}

LaunchRequest request_of(const Work& work) {
  LaunchRequest request;
  request.kernel = work.kernel;
  request.grid = work.grid;
  request.block = work.block;
  request.cluster = work.cluster;
  request.shared_bytes = static_cast<long long>(work.shared_bytes);
  request.parameters = work.image.data();
  request.parameter_bytes = work.kernel->parameter_bytes;
  return request;
}

// A kernel that fails while it runs is found out by a later call.
void run_now(const Work& work) {
  try {
    Machine::own().run(request_of(work), Schedule{});
  } catch (const SimulatorError& failed) {
    state.failure = failed.what();
    state.sticky = cudaErrorLaunchFailure;
  }
}

cudaError_t submit(Work work, void* stream) {
  const auto limit = state.shared_limits.find({work.kernel->function, state.current});
  if (work.shared_bytes > (limit == state.shared_limits.end() ? kUnaskedShared : limit->second))
    return told(cudaErrorInvalidValue);
  try {
    check_launch(request_of(work));
  } catch (const SimulatorError& refused) {
    state.failure = refused.what();
    return told(cudaErrorInvalidConfiguration);
  }
  if (state.captures.empty()) {
    run_now(work);
    return cudaSuccess;
  }
  const auto capture = state.captures.find(stream);
  if (stream == nullptr) {
    state.invalidated = true;
    return told(cudaErrorStreamCaptureImplicit);
  }
  if (capture == state.captures.end()) {
    run_now(work);
    return cudaSuccess;
  }
  if (state.invalidated) return told(cudaErrorStreamCaptureInvalidated);
  capture->second.push_back(std::move(work));
  return cudaSuccess;
}

void keep_image(Work& work, const void* parameters) {
  const std::size_t bytes = work.kernel->parameter_bytes;
  work.image.resize((bytes + sizeof(TensorMap) - 1) / sizeof(TensorMap));
  std::memcpy(work.image.data(), parameters, bytes);
}

cudaError_t limit_shared(const void* function, int bytes) {
  if (bytes < 0 || static_cast<std::size_t>(bytes) > kLargestShared) return told(cudaErrorInvalidValue);
  state.shared_limits[{function, state.current}] = static_cast<std::size_t>(bytes);
  return cudaSuccess;
}

bool is_damaged(const Allocation& allocation) {
  for (std::size_t i = 0; i < kRedZone; ++i) {
    if (allocation.start[i] != kRedByte || allocation.start[kRedZone + allocation.bytes + i] != kRedByte) return true;
  }
  return false;
}

struct ErrorText {
  cudaError_t error;
  const char* name;
  const char* text;
};
constexpr ErrorText kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver", "CUDA driver version is insufficient"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};

const ErrorText& text_of(cudaError_t error) {
  static constexpr ErrorText kUnknown{cudaErrorUnknown, "cudaErrorUnknown", "unknown error"};
  for (const ErrorText& entry : kErrors) {
    if (entry.error == error) return entry;
  }
  return kUnknown;
}

}  // namespace

}  // namespace atrous::sim

using namespace atrous::sim;  // NOLINT: the C functions below are its outside

extern "C" {

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  bool idle = false;
  const cudaError_t status = enter("cudaLaunchKernelExC", Use::kPlain, &idle);
  if (status != cudaSuccess || idle) return status;
  Work work;
  work.kernel = kernel_of(function);
  if (work.kernel == nullptr) return told(cudaErrorInvalidDeviceFunction);
  work.grid = {config->gridDim.x, config->gridDim.y, config->gridDim.z};
  work.block = {config->blockDim.x, config->blockDim.y, config->blockDim.z};
  work.shared_bytes = config->dynamicSmemBytes;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id != cudaLaunchAttributeClusterDimension) continue;
    const dim3& extent = config->attrs[i].val.clusterDim;
    work.cluster = {extent.x, extent.y, extent.z};
  }
  keep_image(work, arguments[0]);
  return submit(std::move(work), config->stream);
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute, int value) {
  const cudaError_t status = enter("cudaFuncSetAttribute", Use::kPlain);
  return status != cudaSuccess ? status : limit_shared(function, value);
}

cudaError_t cudaGetDevice(int* device) {
  *device = state.current;
  return enter("cudaGetDevice", Use::kPlain);
}

cudaError_t cudaGetDeviceCount(int* count) {
  *count = state.devices;
  const cudaError_t status = enter("cudaGetDeviceCount", Use::kPlain);
  return status == cudaSuccess && state.devices == 0 ? told(cudaErrorNoDevice) : status;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const cudaError_t status = enter("cudaGetDeviceProperties", Use::kPlain);
  if (status != cudaSuccess) return status;
  if (device < 0 || device >= state.devices) return told(cudaErrorInvalidDevice);
  *properties = cudaDeviceProp{};
  std::strcpy(properties->name, "NVIDIA H200 (fake)");
  properties->major = 9;
  properties->multiProcessorCount = 132;
  properties->l2CacheSize = 60 << 20;
  properties->totalGlobalMem = std::size_t{139} << 30;
  properties->sharedMemPerBlockOptin = kLargestShared;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = kCudaVersion;
  return enter("cudaDriverGetVersion", Use::kPlain);
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = kCudaVersion;
  return enter("cudaRuntimeGetVersion", Use::kPlain);
}

cudaError_t cudaGetLastError() { return std::exchange(state.last, state.sticky); }
const char* cudaGetErrorName(cudaError_t error) { return text_of(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return text_of(error).text; }

}  // extern "C"

void atrous_fake_reset(int devices) {
  auto limits = std::move(state.shared_limits);
  state = RuntimeState{};
  state.shared_limits = std::move(limits);
  state.devices = devices < kMostDevices ? devices : kMostDevices;
}

void atrous_fake_fail(long n, int error, int later) {
  state.failing = n == 0 ? 0 : static_cast<long>(state.calls.size()) + n;
  state.error = static_cast<cudaError_t>(error);
  state.later = later != 0;
}

long atrous_fake_calls() { return static_cast<long>(state.calls.size()); }

const char* atrous_fake_call(long n) {
  return n < 1 || n > atrous_fake_calls() ? "" : state.calls[static_cast<std::size_t>(n - 1)].c_str();
}

int atrous_fake_left_error() { return state.last; }
const char* atrous_fake_failure() { return state.failure.c_str(); }
const char* atrous_fake_name(int error) { return text_of(static_cast<cudaError_t>(error)).name; }
int atrous_fake_enter(const char* name, int unsafe) { return enter(name, unsafe != 0 ? Use::kUnsafe : Use::kPlain); }

int atrous_fake_allocate(void** pointer, std::size_t bytes) {
  *pointer = nullptr;
  const cudaError_t status = enter("cudaMalloc", Use::kUnsafe);
  if (status != cudaSuccess) return status;
  // As cudaMalloc: a multiple of 256.
  const std::size_t whole = (2 * kRedZone + bytes + kRedZone - 1) / kRedZone * kRedZone;
  Allocation made{static_cast<unsigned char*>(std::aligned_alloc(kRedZone, whole)), bytes};
  if (made.start == nullptr) return told(cudaErrorMemoryAllocation);
  std::memset(made.start, kRedByte, kRedZone);
  std::memset(made.start + kRedZone, kUnwritten, bytes);
  std::memset(made.start + kRedZone + bytes, kRedByte, kRedZone);
  *pointer = made.start + kRedZone;
  memory.emplace(*pointer, made);
  live_bytes += bytes;
  return cudaSuccess;
}

void atrous_fake_free(void* pointer) {
  const auto found = memory.find(pointer);
  if (found == memory.end()) return;
  if (is_damaged(found->second)) ++state.damaged;
  live_bytes -= found->second.bytes;
  std::free(found->second.start);
  memory.erase(found);
}

std::size_t atrous_fake_live_bytes() { return live_bytes; }

long atrous_fake_damaged() {
  long count = state.damaged;
  for (const auto& entry : memory) count += is_damaged(entry.second) ? 1 : 0;
  return count;
}

int atrous_fake_get_device(int* device) { return cudaGetDevice(device); }

int atrous_fake_set_device(int device) {
  const cudaError_t status = enter("cudaSetDevice", Use::kPlain);
  if (status != cudaSuccess) return status;
  if (device < 0 || device >= state.devices) return told(cudaErrorInvalidDevice);
  state.current = device;
  return cudaSuccess;
}

int atrous_fake_synchronize(void*) { return enter("cudaStreamSynchronize", Use::kUnsafe); }

int atrous_fake_launch(const char* name, const unsigned* shape, std::size_t shared_bytes, void* stream,
                       const void* parameters, std::size_t parameter_bytes) {
  bool idle = false;
  const cudaError_t status = enter("cuLaunchKernel", Use::kPlain, &idle);
  if (status != cudaSuccess || idle) return status;
  Work work;
  work.kernel = atrous::find_kernel(name);
  if (work.kernel == nullptr || work.kernel->parameter_bytes != parameter_bytes) return told(cudaErrorInvalidValue);
  work.grid = {shape[0], shape[1], shape[2]};
  work.block = {shape[3], shape[4], shape[5]};
  work.shared_bytes = shared_bytes;
  keep_image(work, parameters);
  return submit(std::move(work), stream);
}

int atrous_fake_allow_shared(const char* name, int bytes) {
  const cudaError_t status = enter("cuFuncSetAttribute", Use::kPlain);
  const atrous::KernelEntry* kernel = atrous::find_kernel(name);
  if (status != cudaSuccess) return status;
  return kernel == nullptr ? told(cudaErrorInvalidValue) : limit_shared(kernel->function, bytes);
}

int atrous_fake_begin_capture(void* stream) {
  if (stream == nullptr) return told(cudaErrorStreamCaptureUnsupported);
  state.captures[stream];
  state.invalidated = false;
  return cudaSuccess;
}

int atrous_fake_end_capture(void* stream, int* graph) {
  const auto capture = state.captures.find(stream);
  if (capture == state.captures.end()) return told(cudaErrorInvalidValue);
  const bool invalidated = std::exchange(state.invalidated, false);
  if (!invalidated) {
    *graph = static_cast<int>(state.graphs.size());
    state.graphs.push_back(std::move(capture->second));
  }
  state.captures.erase(capture);
  return invalidated ? told(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}

int atrous_fake_replay(int graph) {
  for (const Work& work : state.graphs.at(static_cast<std::size_t>(graph))) run_now(work);
  return state.sticky;
}

int atrous_fake_graph_launches(int graph) {
  return static_cast<int>(state.graphs.at(static_cast<std::size_t>(graph)).size());
}
