// The memory of the model of wgmma: one record a warpgroup, new for each cluster.
#include "wgmma_state.hpp"

#include <utility>

namespace atrous::sim {

namespace {

// Frames of lanes are read across threads and after their time: no sanitizer may look.
#define ATROUS_UNCHECKED __attribute__((no_sanitize("address", "thread"), noinline))

ATROUS_UNCHECKED bool equals(const volatile std::uint32_t* registers, const std::uint32_t* values, int words) {
  for (int i = 0; i < words; ++i) {
    if (registers[i] != values[i]) return false;
  }
  return true;
}

ATROUS_UNCHECKED void copy(volatile std::uint32_t* to, const volatile std::uint32_t* from, int words) {
  for (int i = 0; i < words; ++i) to[i] = from[i];
}

#undef ATROUS_UNCHECKED

struct Records {
  std::uint64_t serial = 0;
  std::map<std::pair<int, int>, WarpgroupRecord> warpgroups;  // by block of the cluster and number in the block
};

Records& records() {
  static thread_local Records own;
  return own;
}

void check_counts(int rank) {
  for (const auto& [key, group] : records().warpgroups) {
    if (key.first != rank || group.calls.empty()) continue;
    const WgmmaCall& call = group.calls.front();
    for (int warp = 0; warp < 4; ++warp) {
      if (group.warps[warp].issued == group.first_call)
        fail(
            "wgmma at %s:%d was issued by other warps of a warpgroup, not by threads %d-%d; expected all four to issue "
            "each",
            call.site.file, call.site.line, key.second * 128 + warp * 32, key.second * 128 + warp * 32 + 31);
    }
  }
}

}  // namespace

TrackedRegisters::TrackedRegisters(void* const* lanes, int words)
    : words_(words), known_(static_cast<std::size_t>(32 * words)) {
  for (int lane = 0; lane < 32; ++lane) lanes_[lane] = lanes[lane];
  remember();
}

bool TrackedRegisters::is_same_array(void* const* lanes, int words) const {
  for (int lane = 0; lane < 32; ++lane) {
    if (lanes[lane] != lanes_[lane]) return false;
  }
  return words == words_;
}

bool TrackedRegisters::is_unchanged() const {
  for (int lane = 0; lane < 32; ++lane) {
    if (!equals(static_cast<const std::uint32_t*>(lanes_[lane]), &known_[static_cast<std::size_t>(lane * words_)],
                words_))
      return false;
  }
  return true;
}

void TrackedRegisters::remember() {
  for (int lane = 0; lane < 32; ++lane)
    copy(&known_[static_cast<std::size_t>(lane * words_)], static_cast<const std::uint32_t*>(lanes_[lane]), words_);
}

void TrackedRegisters::write_values() {
  for (int lane = 0; lane < 32; ++lane)
    copy(static_cast<std::uint32_t*>(lanes_[lane]), &known_[static_cast<std::size_t>(lane * words_)], words_);
}

WarpgroupRecord& own_warpgroup() {
  Records& own = records();
  if (std::exchange(own.serial, cluster_serial()) != cluster_serial()) own.warpgroups.clear();
  if (own.warpgroups.empty()) at_block_exit(&check_counts);
  return own.warpgroups[{block_rank(), thread_number() / 128}];
}

void compare_with_warpgroup(const WgmmaCall& call) {
  WarpgroupRecord& group = own_warpgroup();
  const std::uint64_t index = own_warp().issued++ - group.first_call;
  if (index == group.calls.size()) {
    group.calls.push_back(call);
    return;
  }
  const WgmmaCall& other = group.calls[index];
  const char* different = nullptr;
  if (call.shape.columns != other.shape.columns)
    different = "N";
  else if (call.shape.element != other.shape.element)
    different = "element types";
  else if (call.shape.is_a_across != other.shape.is_a_across || call.shape.is_b_across != other.shape.is_b_across)
    different = "majors";
  else if (call.is_a_in_registers != other.is_a_in_registers)
    different = "kinds of a";
  else if (call.a_descriptor != other.a_descriptor)
    different = "descriptors of a";
  else if (call.b_descriptor != other.b_descriptor)
    different = "descriptors of b";
  else if (call.accumulate != other.accumulate)
    different = "accumulate";
  if (different != nullptr)
    fail(
        "wgmma at %s:%d: the warps of its warpgroup differ in their %s (another warp is at %s:%d); expected the same "
        "wgmma of all four",
        call.site.file, call.site.line, different, other.site.file, other.site.line);
  while (!group.calls.empty()) {
    for (const WarpRecord& warp : group.warps) {
      if (warp.issued == group.first_call) return;
    }
    group.calls.pop_front();
    ++group.first_call;
  }
}

}  // namespace atrous::sim
