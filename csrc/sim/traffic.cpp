// The doors to the counting of traffic, on the state of the calling operating-system thread.
#ifdef ATROUS_SIM_RACE

#include "traffic.hpp"

#include <memory>
#include <utility>

#include "race_state.hpp"
#include "traffic_state.hpp"

namespace atrous::sim::traffic {

__thread Counter* counting = nullptr;

extern "C" char _end[] __attribute__((visibility("hidden")));  // the linker's: where the extension's own data ends

namespace {

struct Own {
  std::unique_ptr<Counter> counter;
  std::vector<Range> hidden;
};

Own& own() {
  static thread_local Own own_counting;
  return own_counting;
}

std::uintptr_t number(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer); }

bool is_hidden(std::uintptr_t address) {
  for (const Range& range : own().hidden) {
    if (address - number(range.low) < range.bytes) return true;
  }
  return false;
}

std::size_t offset_of(const void* from) {
  return static_cast<std::size_t>(static_cast<const char*>(from) - race::__ehdr_start);
}

}  // namespace

void start() {
  own().counter = std::make_unique<Counter>();
  counting = own().counter.get();
}

Report stop() {
  counting = nullptr;
  const std::unique_ptr<Counter> counter = std::exchange(own().counter, nullptr);
  return counter == nullptr ? Report{} : counter->report();
}

void begin_launch(std::initializer_list<Range> hidden) {
  if (counting == nullptr) return;
  own().hidden = hidden;
  own().hidden.push_back({race::__ehdr_start, static_cast<std::size_t>(_end - race::__ehdr_start)});
  counting->count_launch();
}

void begin_cluster(int blocks, int threads_of_block) {
  if (counting != nullptr) counting->begin_cluster(blocks, threads_of_block);
}

void end_cluster() {
  if (counting != nullptr) counting->end_cluster();
}

void meet_block(int rank) {
  if (counting != nullptr) counting->meet_block(rank);
}

void meet_warp(int thread) {
  if (counting != nullptr) counting->meet_warp(thread);
}

void count_access(const void* pointer, std::size_t bytes, bool is_write, const void* from) {
  const std::uintptr_t address = number(pointer);
  const race::Shadow& shadow = race::state->shadow;
  if (shadow.is_stack(address)) return;
  const bool is_shared = shadow.is_shared(address);
  if (!is_shared && is_hidden(address)) return;
  counting->access(race::state->self, address, bytes, is_write, is_shared, offset_of(from));
}

void access(const void* pointer, std::size_t bytes, bool is_write, const void* from) {
  if (counting != nullptr && bytes != 0) count_access(pointer, bytes, is_write, from);
}

void access_rows(const unsigned char* const* rows, int count, bool is_write, const void* from) {
  if (counting == nullptr) return;
  Instruction instruction;
  for (int lane = 0; lane < count; ++lane) {
    instruction.address[lane] = number(rows[lane]);
    instruction.bytes[lane] = 16;
    instruction.lanes |= 1u << lane;
  }
  counting->access_whole(instruction, is_write, true, offset_of(from));
}

void copy_bulk(const std::vector<TensorRow>& rows, bool is_write, Site site) {
  if (counting == nullptr) return;
  std::vector<std::uint64_t> sectors;
  std::uint64_t bytes = 0;
  for (const TensorRow& row : rows) {
    if (row.bytes == 0) continue;
    bytes += row.bytes;
    const std::uint64_t last = (row.address + row.bytes - 1) / kSectorBytes;
    for (std::uint64_t sector = row.address / kSectorBytes; sector <= last; ++sector) sectors.push_back(sector);
  }
  counting->touch(sectors, bytes, is_write, site);
}

}  // namespace atrous::sim::traffic

#endif
