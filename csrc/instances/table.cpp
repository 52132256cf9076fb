// The list of kernel families and the look-up by name.
#include "table.hpp"

#include <string>
#include <unordered_map>

namespace atrous {

namespace {

using AddEntries = void (*)(std::vector<KernelEntry>& entries);

constexpr AddEntries kFamilies[] = {
    add_conv_direct,
    add_conv_pointwise,
    add_pool,
};

}  // namespace

const std::vector<KernelEntry>& kernel_table() {
  static const std::vector<KernelEntry> table = [] {
    std::vector<KernelEntry> entries;
    for (AddEntries add : kFamilies) add(entries);
    return entries;
  }();
  return table;
}

const KernelEntry* find_kernel(const char* name) {
  static const std::unordered_map<std::string, const KernelEntry*> by_name = [] {
    std::unordered_map<std::string, const KernelEntry*> map;
    for (const KernelEntry& entry : kernel_table()) map.emplace(entry.name, &entry);
    return map;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

}  // namespace atrous
