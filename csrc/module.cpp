// The Python module atrous._cuda: the table of built kernels, one launch, and what the tests ask of the C++ side.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "common_bindings.hpp"
#include "instances/table.hpp"
#include "runtime_calls.hpp"
#include "tensor_maps.hpp"

namespace py = pybind11;

namespace {

using atrous::KernelEntry;
using atrous::runtime::Triple;

constexpr std::size_t kLargestParameters = 4096;   // bytes that every device passes to a kernel by value
constexpr std::size_t kUnaskedShared = 48 * 1024;  // dynamic shared bytes that a block gets without asking
constexpr int kMaskedDevices = 64;                 // devices remembered in one word

[[noreturn]] void raise(const char* exception, const std::string& message) {
  py::object type = py::module_::import("atrous.errors").attr(exception);
  PyErr_SetString(type.ptr(), message.c_str());
  throw py::error_already_set();
}

// A failed call becomes one of the package's exceptions.
void translate(std::exception_ptr failure) {
  using atrous::runtime::Kind;
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const atrous::runtime::Failure& failed) {
    const char* exception = failed.kind == Kind::kNoMemory   ? "OutOfMemory"
                            : failed.kind == Kind::kNoDevice ? "EngineUnavailable"
                                                             : "CudaError";
    PyErr_SetString(py::module_::import("atrous.errors").attr(exception).ptr(), failed.what());
  } catch (const atrous::TensorMapError& refused) {
    PyErr_SetString(py::module_::import("atrous.errors").attr("CudaError").ptr(), refused.what());
  }
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
           const py::bytes& parameters, std::size_t pointer_count, const py::bytes& tensor_maps)
      : entry_(entry_of(name)),
        shape_{grid, block, cluster, shared_bytes},
        tensor_maps_(name, tensor_maps, entry_.parameter_bytes, pointer_count) {
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
    alignas(atrous::TensorMap) unsigned char image[kLargestParameters];
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
    tensor_maps_.fill(image);
    ask_for_shared();
    atrous::runtime::launch(entry_, shape_, reinterpret_cast<void*>(stream), image);
  }

 private:
  // A function's limit on dynamic shared memory is kept by each device for itself.
  void ask_for_shared() const {
    if (shape_.shared_bytes <= kUnaskedShared) return;
    const int device = atrous::runtime::current_device();
    const std::uint64_t bit = device < kMaskedDevices ? std::uint64_t{1} << device : 0;
    if ((asked_.load(std::memory_order_relaxed) & bit) != 0) return;
    atrous::runtime::raise_shared_limit(entry_, device, shape_.shared_bytes);
    asked_.fetch_or(bit, std::memory_order_relaxed);
  }

  const KernelEntry& entry_;
  atrous::runtime::LaunchShape shape_;
  std::vector<unsigned char> parameters_;
  std::size_t pointer_count_ = 0;
  mutable atrous::TensorMaps tensor_maps_;       // remembers the last call's
  mutable std::atomic<std::uint64_t> asked_{0};  // a bit a device
};

std::vector<std::string> kernels() {
  std::vector<std::string> names;
  for (const KernelEntry& entry : atrous::kernel_table()) names.emplace_back(entry.name);
  return names;
}

// 13020 -> "13.2"
std::string version_words(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = std::string("nvcc ") + ATROUS_NVCC_VERSION;
  info["host_compiler"] = __VERSION__;
  info["architectures"] = ATROUS_ARCHITECTURES;
  info["cuda"] = version_words(atrous::runtime::runtime_version());
  info["kernels"] = atrous::kernel_table().size();
  return info;
}

py::dict device_info(int device) {
  const atrous::runtime::DeviceFacts facts = atrous::runtime::device_facts(device);
  py::dict info;
  info["name"] = facts.name;
  info["capability"] = py::make_tuple(facts.major, facts.minor);
  info["multiprocessors"] = facts.multiprocessors;
  info["memory_bytes"] = facts.memory_bytes;
  info["l2_bytes"] = facts.l2_bytes;
  info["shared_bytes"] = facts.shared_bytes;
  info["driver"] = version_words(facts.driver);
  return info;
}

}  // namespace

PYBIND11_MODULE(_cuda, module, py::mod_gil_not_used()) {
  module.doc() = "The kernels of atrous built ahead of time for NVIDIA GPUs.";
  module.def("kernels", &kernels, "The name of every kernel in this build.");
  atrous::bind_common(module, &entry_of);
  module.def("build_info", &build_info, "What this extension was built with and for.");
  py::register_local_exception_translator(&translate);
  module.def("device_count", &atrous::runtime::device_count,
             "Number of CUDA devices; raises EngineUnavailable where there is no driver or no device.");
  module.def("device_info", &device_info, py::arg("device"), "Facts of one device.");
  py::class_<Prepared>(module, "Prepared", "One kernel with its grid and its arguments, ready to launch.")
      .def(py::init<const std::string&, Triple, Triple, Triple, std::size_t, const py::bytes&, std::size_t,
                    const py::bytes&>(),
           py::arg("name"), py::arg("grid"), py::arg("block"), py::arg("cluster"), py::arg("shared_bytes"),
           py::arg("parameters"), py::arg("pointer_count"), py::arg("tensor_maps") = py::bytes())
      .def("run", &Prepared::run, py::arg("pointers"), py::arg("stream"), "Launch with these pointers on this stream.");
}
