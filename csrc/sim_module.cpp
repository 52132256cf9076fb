// The Python module atrous._sim: the table of kernels compiled for the host, one launch, and the schedule it follows.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common_bindings.hpp"
#include "instances/table.hpp"
#include "sim/machine.hpp"
#include "sim/test_kernels.hpp"
#include "sim/traffic.hpp"
#include "tensor_maps.hpp"

namespace py = pybind11;

namespace {

using atrous::KernelEntry;
using atrous::sim::LaunchRequest;
using atrous::sim::SimulatorError;
using Triple = std::array<long long, 3>;

const std::vector<KernelEntry>& test_table() {
  static const std::vector<KernelEntry> table = [] {
    std::vector<KernelEntry> entries;
    for (auto add : atrous::kTestKernels) add(entries);
    return entries;
  }();
  return table;
}

const KernelEntry& entry_of(const std::string& name) {
  if (const KernelEntry* entry = atrous::find_kernel(name.c_str())) return *entry;
  for (const KernelEntry& entry : test_table()) {
    if (name == entry.name) return entry;
  }
  throw SimulatorError("[simulator] the kernel " + name +
                       " is not in this build; expected a name of atrous._sim.kernels(); add it to csrc/instances.");
}

std::mutex schedule_mutex;
atrous::sim::Schedule schedule;

atrous::sim::Schedule current_schedule() {
  const std::lock_guard<std::mutex> lock(schedule_mutex);
  return schedule;
}

// The value of the word in `choices`, or an exception that lists them.
template <class Value, std::size_t kCount>
Value chosen(const char* what, const std::string& word, const std::pair<const char*, Value> (&choices)[kCount]) {
  std::string expected;
  for (const auto& [name, value] : choices) {
    if (word == name) return value;
    expected += (expected.empty() ? "'" : ", '") + std::string(name) + "'";
  }
  throw py::value_error(std::string("[simulator] the ") + what + " is '" + word + "'; expected one of " + expected +
                        ".");
}

void set_schedule(const std::string& word, std::uint64_t seed, const std::string& landing) {
  using atrous::sim::Landing;
  using atrous::sim::Order;
  constexpr std::pair<const char*, Order> orders[] = {
      {"in-order", Order::kInOrder},
      {"reverse", Order::kReverse},
      {"random", Order::kRandom},
      {"greedy", Order::kGreedy},
  };
  constexpr std::pair<const char*, Landing> landings[] = {
      {"latest", Landing::kLatest},
      {"earliest", Landing::kEarliest},
      {"random", Landing::kRandom},
  };
  const atrous::sim::Schedule wanted{chosen("schedule", word, orders), seed, chosen("landing", landing, landings)};
  const std::lock_guard<std::mutex> lock(schedule_mutex);
  schedule = wanted;
}

// One kernel with its grid and its arguments; a call fills in the pointers and runs it.
class Prepared {
 public:
  Prepared(const std::string& name, Triple grid, Triple block, Triple cluster, long long shared_bytes,
           const std::string& parameters, std::size_t pointer_count, const std::string& tensor_maps)
      : parameters_((parameters.size() + sizeof(Word) - 1) / sizeof(Word)),
        pointer_count_(pointer_count),
        tensor_maps_(name, tensor_maps, parameters.size(), pointer_count) {
    request_.kernel = &entry_of(name);
    request_.grid = {grid[0], grid[1], grid[2]};
    request_.block = {block[0], block[1], block[2]};
    request_.cluster = {cluster[0], cluster[1], cluster[2]};
    request_.shared_bytes = shared_bytes;
    request_.parameter_bytes = parameters.size();
    std::memcpy(parameters_.data(), parameters.data(), parameters.size());
    atrous::sim::check_launch(request_);
    if (pointer_count * sizeof(void*) > parameters.size())
      throw SimulatorError("[simulator] " + name + ": " + std::to_string(pointer_count) +
                           " pointers do not fit its parameters of " + std::to_string(parameters.size()) + " bytes.");
  }

  // `stream` is accepted so that every engine is called alike; a run is over when it returns.
  void run(const std::vector<std::uintptr_t>& pointers, std::uintptr_t /*stream*/) const { start(pointers, nullptr); }

  void run_blocks(const std::vector<std::uintptr_t>& pointers, const std::vector<long long>& blocks) const {
    start(pointers, &blocks);
  }

 private:
  using Word = atrous::TensorMap;  // for its alignment, the strictest in an argument

  void start(const std::vector<std::uintptr_t>& pointers, const std::vector<long long>* blocks) const {
    if (pointers.size() != pointer_count_)
      throw SimulatorError(std::string("[simulator] ") + request_.kernel->name + ": " +
                           std::to_string(pointers.size()) + " pointers came; expected " +
                           std::to_string(pointer_count_) + ".");
    // A copy, so that two threads may run one Prepared at a time.
    std::vector<Word> image = parameters_;
    for (std::size_t i = 0; i < pointers.size(); ++i) {
      std::memcpy(reinterpret_cast<unsigned char*>(image.data()) + i * sizeof(void*), &pointers[i], sizeof(void*));
    }
    tensor_maps_.fill(reinterpret_cast<unsigned char*>(image.data()));
    LaunchRequest request = request_;
    request.parameters = image.data();
    request.blocks = blocks;
    const atrous::sim::Schedule now = current_schedule();
    const py::gil_scoped_release release;
    atrous::sim::Machine::own().run(request, now);
  }

  LaunchRequest request_;
  std::vector<Word> parameters_;  // the image of the kernel's argument
  std::size_t pointer_count_;
  mutable atrous::TensorMaps tensor_maps_;  // remembers the last call's
};

std::vector<std::string> names(const std::vector<KernelEntry>& table) {
  std::vector<std::string> result;
  for (const KernelEntry& entry : table) result.emplace_back(entry.name);
  return result;
}

py::dict build_info() {
  py::dict info;
  info["compiler"] = std::string("g++ ") + __VERSION__;
  info["architectures"] = "host";
  info["cuda"] = "none";
  info["context_switch"] = atrous::sim::kContextKind;
#if defined(__SANITIZE_ADDRESS__)
  info["sanitizer"] = "address";
#elif defined(ATROUS_SIM_RACE)
  info["sanitizer"] = "race";
#else
  info["sanitizer"] = "none";
#endif
  info["kernels"] = atrous::kernel_table().size();
  return info;
}

#ifdef ATROUS_SIM_RACE
constexpr bool kCountsTraffic = true;
#else
constexpr bool kCountsTraffic = false;
#endif

void put(py::dict& figures, const atrous::sim::traffic::Sums& sums) {
  figures["global_read_bytes"] = sums.read_bytes;
  figures["global_read_sectors"] = sums.read_sectors;
  figures["global_write_bytes"] = sums.write_bytes;
  figures["global_write_sectors"] = sums.write_sectors;
  figures["shared_instructions"] = sums.shared_instructions;
  figures["shared_conflicts"] = sums.shared_conflicts;
}

void start_traffic() {
  if (!kCountsTraffic)
    throw SimulatorError(
        "[simulator] this build counts no traffic; expected one with the hooks of the race check, as "
        "tests/proof/builds.py makes it: run under its variant 'race'.");
  atrous::sim::traffic::start();
}

py::dict stop_traffic() {
  const atrous::sim::traffic::Report report = atrous::sim::traffic::stop();
  py::dict figures;
  figures["launches"] = report.launches;
  put(figures, report.all);
  figures["read_footprint"] = report.read_footprint;
  figures["write_footprint"] = report.write_footprint;
  py::list places;
  for (const auto& place : report.places) {
    py::dict own;
    put(own, place.sums);
    py::object where = py::int_(place.offset);
    if (place.site.file[0] != 0) where = py::str(std::string(place.site.file) + ":" + std::to_string(place.site.line));
    places.append(py::make_tuple(where, own));
  }
  figures["places"] = places;
  return figures;
}

py::dict counters() {
  const atrous::sim::Counters now = atrous::sim::counters();
  py::dict figures;
  figures["launches"] = now.launches;
  figures["blocks"] = now.blocks;
  figures["threads"] = now.threads;
  return figures;
}

}  // namespace

PYBIND11_MODULE(_sim, module, py::mod_gil_not_used()) {
  module.doc() = "The kernels of atrous compiled for the host, on a model of the CUDA thread machine.";
  module.def("kernels", [] { return names(atrous::kernel_table()); }, "The name of every kernel in this build.");
  module.def("test_kernels", [] { return names(test_table()); }, "The kernels that test the simulator itself.");
  atrous::bind_common(module, &entry_of);
  module.def("build_info", &build_info, "What this extension was built with and for.");
  module.def("set_schedule", &set_schedule, py::arg("word"), py::arg("seed"), py::arg("landing") = "latest",
             "From now on, run threads 'in-order', in 'reverse', at 'random', or 'greedy', a warp as long as it can; "
             "and land asynchronous operations at the 'latest' or 'earliest' moment, or at 'random'.");
  module.def("start_traffic", &start_traffic,
             "From now on, count what the launches of this operating-system thread move; in the race build alone.");
  module.def("stop_traffic", &stop_traffic,
             "Count no longer, and return the sums, and those of each place: a file and line, or the offset in this "
             "extension of the instruction behind the access.");
  module.def("counters", &counters, "The launches, blocks and threads that this process has run.");
  py::class_<Prepared>(module, "Prepared", "One kernel with its grid and its arguments, ready to run.")
      .def(py::init<const std::string&, Triple, Triple, Triple, long long, const std::string&, std::size_t,
                    const std::string&>(),
           py::arg("name"), py::arg("grid"), py::arg("block"), py::arg("cluster"), py::arg("shared_bytes"),
           py::arg("parameters"), py::arg("pointer_count"), py::arg("tensor_maps") = "")
      .def("run", &Prepared::run, py::arg("pointers"), py::arg("stream"), "Run with these pointers to the end.")
      .def("run_blocks", &Prepared::run_blocks, py::arg("pointers"), py::arg("blocks"),
           "Run only these blocks, numbered with x fastest, and the other blocks of their clusters.");
}
