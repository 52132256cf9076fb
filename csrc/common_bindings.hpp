// What both Python modules tell the tests of the C++ side: argument sizes, struct layouts and window geometry.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "atrous/geometry.hpp"
#include "instances/table.hpp"
#include "struct_layout.hpp"

namespace atrous {

// entry_of(name): the KernelEntry of a name, or the module's exception.
template <class EntryOf>
void bind_common(pybind11::module_& module, EntryOf entry_of) {
  namespace py = pybind11;
  module.def(
      "parameter_bytes", [entry_of](const std::string& name) { return entry_of(name).parameter_bytes; },
      py::arg("name"), "Bytes of the kernel's one argument.");
  module.def(
      "sm90a_kernels",
      [] {
        std::vector<std::string> names;
        for (const KernelEntry& entry : kernel_table()) {
          if (entry.needs_sm90a) names.emplace_back(entry.name);
        }
        return names;
      },
      "The names of kernels() that no device but sm_90a can run.");
  module.def("layout", &struct_layout, py::arg("name"), "(field, offset) of a struct, then (\"sizeof\", size).");
  module.def("output_size", &output_size, py::arg("size"), py::arg("kernel"), py::arg("stride"), py::arg("dilation"),
             py::arg("low"), py::arg("high"), py::arg("ceil_mode"), "Outputs of a window on an axis.");
  module.def(
      "source_coordinate",
      [](int mode, int i, int extent) { return source_coordinate(static_cast<PaddingMode>(mode), i, extent); },
      py::arg("mode"), py::arg("i"), py::arg("extent"), "The cell that holds a padded coordinate, or -1 for zero.");
}

}  // namespace atrous
