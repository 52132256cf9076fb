// The Python module atrous._cuda: the table of built kernels, one launch, and what the tests ask of the C++ side.
#include <cuda_runtime.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common_bindings.hpp"
#include "instances/table.hpp"

namespace py = pybind11;

namespace {

using atrous::KernelEntry;
using Triple = std::array<unsigned, 3>;

constexpr std::size_t kLargestParameters = 4096;   // bytes that every device passes to a kernel by value
constexpr std::size_t kUnaskedShared = 48 * 1024;  // dynamic shared bytes that a block gets without asking
constexpr int kMaskedDevices = 64;                 // devices remembered in one word

[[noreturn]] void raise(const char* exception, const std::string& message) {
  py::object type = py::module_::import("atrous.errors").attr(exception);
  PyErr_SetString(type.ptr(), message.c_str());
  throw py::error_already_set();
}

void check(cudaError_t status, const std::string& operation) {
  if (status == cudaSuccess) return;
  // Takes a passing error off the thread's record, where the next library would find it and take it for its own.
  cudaGetLastError();
  raise("CudaError", "[" + operation + "] CUDA error " + std::to_string(static_cast<int>(status)) + ", " +
                         cudaGetErrorName(status) + ": " + cudaGetErrorString(status) +
                         "; expected success; see that the device, its memory and its driver are in order.");
}

const KernelEntry& entry_of(const std::string& name) {
  const KernelEntry* entry = atrous::find_kernel(name.c_str());
  if (entry == nullptr) {
    raise("EngineUnavailable", "[compiled] the kernel " + name +
                                   " is not in this build; expected a name of atrous._cuda.kernels(); rebuild, or use "
                                   "engine='runtime'.");
  }
  return *entry;
}

// One kernel with its grid and its arguments; a call fills in the pointers and launches.
class Prepared {
 public:
  Prepared(const std::string& name, Triple grid, Triple block, Triple cluster, std::size_t shared_bytes,
           const py::bytes& parameters, std::size_t pointer_count)
      : entry_(entry_of(name)), grid_(grid), block_(block), cluster_(cluster), shared_bytes_(shared_bytes) {
    const std::string_view bytes = parameters;
    if (bytes.size() != entry_.parameter_bytes || bytes.size() > kLargestParameters ||
        pointer_count > bytes.size() / sizeof(void*)) {
      raise("CudaError", "[" + name + "] the parameters have " + std::to_string(bytes.size()) + " bytes and " +
                             std::to_string(pointer_count) + " pointers; expected the " +
                             std::to_string(entry_.parameter_bytes) +
                             " bytes of its argument; build the extension from the same source as the package.");
    }
    parameters_.assign(bytes.begin(), bytes.end());
    pointer_count_ = pointer_count;
  }

  // Launches on `stream` of the caller's current device. Neither waits nor allocates device memory.
  void run(const py::tuple& pointers, std::uintptr_t stream) const {
    // A copy on this thread's stack: two threads may run one Prepared at a time.
    alignas(16) unsigned char image[kLargestParameters];
    std::memcpy(image, parameters_.data(), parameters_.size());
    if (pointers.size() != pointer_count_) {
      raise("CudaError", std::string("[") + entry_.name + "] " + std::to_string(pointers.size()) +
                             " pointers came; expected " + std::to_string(pointer_count_) +
                             "; pass 0 for an absent one.");
    }
    for (std::size_t i = 0; i < pointer_count_; ++i) {
      const std::uintptr_t pointer = PyLong_AsUnsignedLongLong(pointers[i].ptr());
      if (PyErr_Occurred() != nullptr) throw py::error_already_set();
      std::memcpy(image + i * sizeof(pointer), &pointer, sizeof(pointer));
    }
    ask_for_shared();
    launch(image, reinterpret_cast<cudaStream_t>(stream));
  }

 private:
  void launch(unsigned char* image, cudaStream_t stream) const {
    cudaLaunchAttribute cluster{};
    cluster.id = cudaLaunchAttributeClusterDimension;
    cluster.val.clusterDim.x = cluster_[0];
    cluster.val.clusterDim.y = cluster_[1];
    cluster.val.clusterDim.z = cluster_[2];
    cudaLaunchConfig_t config{};
    config.gridDim = dim3(grid_[0], grid_[1], grid_[2]);
    config.blockDim = dim3(block_[0], block_[1], block_[2]);
    config.dynamicSmemBytes = shared_bytes_;
    config.stream = stream;
    config.attrs = &cluster;
    config.numAttrs = cluster_ == Triple{1, 1, 1} ? 0 : 1;
    void* arguments[] = {image};
    check(cudaLaunchKernelExC(&config, entry_.function, arguments), entry_.name);
  }

  // A function's limit on dynamic shared memory is kept by each device for itself.
  void ask_for_shared() const {
    if (shared_bytes_ <= kUnaskedShared) return;
    int device = 0;
    check(cudaGetDevice(&device), "cudaGetDevice");
    const std::uint64_t bit = device < kMaskedDevices ? std::uint64_t{1} << device : 0;
    if ((asked_.load(std::memory_order_relaxed) & bit) != 0) return;
    check(cudaFuncSetAttribute(entry_.function, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes_)),
          entry_.name);
    asked_.fetch_or(bit, std::memory_order_relaxed);
  }

  const KernelEntry& entry_;
  Triple grid_, block_, cluster_;
  std::size_t shared_bytes_;
  std::vector<unsigned char> parameters_;
  std::size_t pointer_count_ = 0;
  mutable std::atomic<std::uint64_t> asked_{0};  // a bit a device
};

std::vector<std::string> kernels() {
  std::vector<std::string> names;
  for (const KernelEntry& entry : atrous::kernel_table()) names.emplace_back(entry.name);
  return names;
}

py::dict build_info() {
  int runtime = 0;
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  py::dict info;
  info["compiler"] = std::string("nvcc ") + ATROUS_NVCC_VERSION;
  info["host_compiler"] = __VERSION__;
  info["architectures"] = ATROUS_ARCHITECTURES;
  info["cuda"] = std::to_string(runtime / 1000) + "." + std::to_string(runtime % 1000 / 10);
  info["kernels"] = atrous::kernel_table().size();
  return info;
}

int device_count() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

py::dict device_info(int device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  int driver = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  py::dict info;
  info["name"] = std::string(properties.name);
  info["capability"] = py::make_tuple(properties.major, properties.minor);
  info["multiprocessors"] = properties.multiProcessorCount;
  info["memory_bytes"] = properties.totalGlobalMem;
  info["l2_bytes"] = properties.l2CacheSize;
  info["shared_bytes"] = properties.sharedMemPerBlockOptin;
  info["driver"] = std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  return info;
}

}  // namespace

PYBIND11_MODULE(_cuda, module, py::mod_gil_not_used()) {
  module.doc() = "The kernels of atrous built ahead of time for NVIDIA GPUs.";
  module.def("kernels", &kernels, "The name of every kernel in this build.");
  atrous::bind_common(module, &entry_of);
  module.def("build_info", &build_info, "What this extension was built with and for.");
  module.def("device_count", &device_count, "Number of CUDA devices; raises CudaError where there is no driver.");
  module.def("device_info", &device_info, py::arg("device"), "Facts of one device.");
  py::class_<Prepared>(module, "Prepared", "One kernel with its grid and its arguments, ready to launch.")
      .def(py::init<const std::string&, Triple, Triple, Triple, std::size_t, const py::bytes&, std::size_t>(),
           py::arg("name"), py::arg("grid"), py::arg("block"), py::arg("cluster"), py::arg("shared_bytes"),
           py::arg("parameters"), py::arg("pointer_count"))
      .def("run", &Prepared::run, py::arg("pointers"), py::arg("stream"), "Launch with these pointers on this stream.");
}
