// Sectors, bank conflicts, and how the accesses of lanes become instructions of warps.
#ifdef ATROUS_SIM_RACE

#include "traffic_count.hpp"

#include <algorithm>
#include <functional>
#include <string>

namespace atrous::sim::traffic {

static constexpr unsigned kBanks = 32;
static constexpr std::uintptr_t kWordBytes = 4;
static constexpr std::size_t kMostBytes = 16;  // of a lane's access

void find_sectors(const Instruction& instruction, std::vector<std::uint64_t>& sectors) {
  sectors.clear();
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((instruction.lanes >> lane & 1u) == 0) continue;
    const std::uint64_t last = (instruction.address[lane] + instruction.bytes[lane] - 1) / kSectorBytes;
    for (std::uint64_t sector = instruction.address[lane] / kSectorBytes; sector <= last; ++sector) {
      if (sectors.empty() || sectors.back() != sector) sectors.push_back(sector);
    }
  }
  if (!std::is_sorted(sectors.begin(), sectors.end())) std::sort(sectors.begin(), sectors.end());
  sectors.erase(std::unique(sectors.begin(), sectors.end()), sectors.end());
}

// The wavefronts of the lanes [begin, end): as many as the fullest bank has words; 0 if none of them takes part.
static unsigned wavefronts(const Instruction& instruction, int begin, int end) {
  std::uintptr_t words[kLanes * (kMostBytes / kWordBytes + 1)];
  std::size_t count = 0;
  for (int lane = begin; lane < end; ++lane) {
    if ((instruction.lanes >> lane & 1u) == 0) continue;
    const std::uintptr_t last = (instruction.address[lane] + instruction.bytes[lane] - 1) / kWordBytes;
    for (std::uintptr_t word = instruction.address[lane] / kWordBytes; word <= last; ++word) words[count++] = word;
  }
  std::sort(words, words + count);
  const std::size_t distinct = static_cast<std::size_t>(std::unique(words, words + count) - words);
  unsigned in_bank[kBanks] = {};
  unsigned most = 0;
  for (std::size_t i = 0; i < distinct; ++i) most = std::max(most, ++in_bank[words[i] % kBanks]);
  return most;
}

unsigned conflicts_of(const Instruction& instruction) {
  unsigned char widest = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((instruction.lanes >> lane & 1u) != 0) widest = std::max(widest, instruction.bytes[lane]);
  }
  const int together = widest <= 4 ? kLanes : widest <= 8 ? kLanes / 2 : kLanes / 4;
  unsigned extra = 0;
  for (int begin = 0; begin < kLanes; begin += together) {
    const unsigned needed = wavefronts(instruction, begin, begin + together);
    if (needed > 1) extra += needed - 1;
  }
  return extra;
}

std::uint64_t Footprint::size() const {
  std::uint64_t count = 0;
  for (const auto& [chunk, bits] : bits_) count += static_cast<std::uint64_t>(__builtin_popcountll(bits));
  return count;
}

static void add(Sums& sums, const Sums& more) {
  sums.read_bytes += more.read_bytes;
  sums.read_sectors += more.read_sectors;
  sums.write_bytes += more.write_bytes;
  sums.write_sectors += more.write_sectors;
  sums.shared_instructions += more.shared_instructions;
  sums.shared_conflicts += more.shared_conflicts;
}

void Counter::begin_cluster(int blocks, int threads_of_block) {
  threads_of_block_ = threads_of_block;
  warps_of_block_ = (threads_of_block + kLanes - 1) / kLanes;
  warps_.assign(static_cast<std::size_t>(blocks * warps_of_block_), WarpLines{});
  pool_.clear();
  free_.clear();
}

void Counter::end_cluster() {
  for (WarpLines& warp : warps_) meet(warp);
}

int Counter::place_of(std::uint64_t key, std::size_t offset, Site site, bool is_write, bool is_shared) {
  const auto [found, is_new] = numbers_.emplace(key, static_cast<int>(places_.size()));
  if (is_new) places_.push_back({{offset, site, {}}, is_write, is_shared});
  return found->second;
}

// The key of a place: an offset of an instruction in the extension, the piece of a wide access, and what it accesses.
static std::uint64_t key_of(std::size_t offset, unsigned piece, bool is_write, bool is_shared) {
  return static_cast<std::uint64_t>(offset) << 32 | piece << 2 | (is_write ? 2u : 0u) | (is_shared ? 1u : 0u);
}

int Counter::open() {
  if (!free_.empty()) {
    const int number = free_.back();
    free_.pop_back();
    pool_[static_cast<std::size_t>(number)].lanes = 0;
    return number;
  }
  pool_.emplace_back();
  return static_cast<int>(pool_.size()) - 1;
}

void Counter::access(int thread, std::uintptr_t address, std::size_t bytes, bool is_write, bool is_shared,
                     std::size_t offset) {
  const int in_block = thread % threads_of_block_, lane = in_block % kLanes;
  const int beyond = threads_of_block_ - (in_block - lane);  // lanes of the warp, if it is a block's last
  const unsigned all = beyond >= kLanes ? ~0u : (1u << beyond) - 1;
  WarpLines& warp = warps_[static_cast<std::size_t>(warp_of(thread))];
  for (unsigned piece = 0; bytes != 0; ++piece) {
    std::size_t taken = kMostBytes;
    while (taken > bytes) taken /= 2;
    const int number = place_of(key_of(offset, piece, is_write, is_shared), offset, {"", 0}, is_write, is_shared);
    if (static_cast<std::size_t>(number) >= warp.of_place.size()) warp.of_place.resize(places_.size());
    Line& line = warp.of_place[static_cast<std::size_t>(number)];
    if (!line.is_begun) warp.begun.push_back(number);
    line.is_begun = true;
    const unsigned execution = line.executed[lane]++;
    if (execution == line.open.size()) line.open.push_back(open());
    const int at = line.open[execution];
    Instruction& instruction = pool_[static_cast<std::size_t>(at)];
    instruction.address[lane] = address;
    instruction.bytes[lane] = static_cast<unsigned char>(taken);
    instruction.lanes |= 1u << lane;
    if (instruction.lanes == all) {
      count(places_[static_cast<std::size_t>(number)], instruction);
      line.open[execution] = kDone;
      free_.push_back(at);
    }
    address += taken;
    bytes -= taken;
  }
}

void Counter::meet(WarpLines& warp) {
  for (const int number : warp.begun) {
    Line& line = warp.of_place[static_cast<std::size_t>(number)];
    for (const int at : line.open) {
      if (at == kDone) continue;
      count(places_[static_cast<std::size_t>(number)], pool_[static_cast<std::size_t>(at)]);
      free_.push_back(at);
    }
    line.open.clear();
    line.is_begun = false;
    std::fill(std::begin(line.executed), std::end(line.executed), 0u);
  }
  warp.begun.clear();
}

void Counter::meet_block(int rank) {
  for (int i = 0; i < warps_of_block_; ++i) meet(warps_[static_cast<std::size_t>(rank * warps_of_block_ + i)]);
}

void Counter::meet_warp(int thread) { meet(warps_[static_cast<std::size_t>(warp_of(thread))]); }

void Counter::access_whole(const Instruction& instruction, bool is_write, bool is_shared, std::size_t offset) {
  const int number = place_of(key_of(offset, 0, is_write, is_shared), offset, {"", 0}, is_write, is_shared);
  count(places_[static_cast<std::size_t>(number)], instruction);
}

void Counter::touch(std::vector<std::uint64_t>& sectors, std::uint64_t bytes, bool is_write, Site site) {
  std::sort(sectors.begin(), sectors.end());
  sectors.erase(std::unique(sectors.begin(), sectors.end()), sectors.end());
  // No offset is as large: the top bit keeps these keys apart.
  const auto name = static_cast<std::uint64_t>(std::hash<std::string>{}(site.file));
  const std::uint64_t key =
      std::uint64_t{1} << 63 | (name ^ static_cast<std::uint64_t>(site.line) << 2) << 2 | is_write;
  Counted& place = places_[static_cast<std::size_t>(place_of(key, 0, site, is_write, false))];
  count_sectors(place.report.sums, sectors, bytes, is_write);
}

void Counter::count(Counted& place, const Instruction& instruction) {
  Sums& sums = place.report.sums;
  if (place.is_shared) {
    ++sums.shared_instructions;
    sums.shared_conflicts += conflicts_of(instruction);
    return;
  }
  std::uint64_t bytes = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((instruction.lanes >> lane & 1u) != 0) bytes += instruction.bytes[lane];
  }
  find_sectors(instruction, sectors_);
  count_sectors(sums, sectors_, bytes, place.is_write);
}

void Counter::count_sectors(Sums& sums, const std::vector<std::uint64_t>& sectors, std::uint64_t bytes, bool is_write) {
  (is_write ? sums.write_bytes : sums.read_bytes) += bytes;
  (is_write ? sums.write_sectors : sums.read_sectors) += sectors.size();
  Footprint& footprint = is_write ? written_ : read_;
  for (const std::uint64_t sector : sectors) footprint.add(sector);
}

Report Counter::report() const {
  Report report;
  report.launches = launches_;
  report.read_footprint = read_.size();
  report.write_footprint = written_.size();
  for (const Counted& place : places_) {
    add(report.all, place.report.sums);
    report.places.push_back(place.report);
  }
  return report;
}

}  // namespace atrous::sim::traffic

#endif
