// The counting of what warps move: accesses of lanes put together to instructions of warps, sectors and bank conflicts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "traffic.hpp"

namespace atrous::sim::traffic {

constexpr int kLanes = 32;
constexpr std::size_t kSectorBytes = 32;

// One instruction of a warp: where each lane that took part in it accessed, and how many bytes, 16 at most.
struct Instruction {
  std::uintptr_t address[kLanes];
  unsigned char bytes[kLanes];
  unsigned lanes = 0;  // a bit each
};

// The sectors that it touches, each once, in rising order.
void find_sectors(const Instruction& instruction, std::vector<std::uint64_t>& sectors);

// Wavefronts beyond the least. There are 32 banks of 4 bytes; accesses of up to 4 bytes go by whole warps, of 8 by
// halves, of 16 by quarters, and each of these takes as many wavefronts as a bank has different words to give.
unsigned conflicts_of(const Instruction& instruction);

// A set of sectors, a bit each.
class Footprint {
 public:
  void add(std::uint64_t sector) {
    const std::uint64_t chunk = sector / 64;
    if (last_ == nullptr || chunk != last_chunk_) {
      last_ = &bits_[chunk];
      last_chunk_ = chunk;
    }
    *last_ |= std::uint64_t{1} << sector % 64;
  }
  std::uint64_t size() const;

 private:
  std::unordered_map<std::uint64_t, std::uint64_t> bits_;
  std::uint64_t* last_ = nullptr;  // an unordered_map never moves what it holds
  std::uint64_t last_chunk_ = 0;
};

// The k-th execution of one place by each lane of a warp, since the warp's lanes last met, is one instruction.
class Counter {
 public:
  void begin_cluster(int blocks, int threads_of_block);
  void end_cluster();

  // More than 16 bytes are several instructions, as they are for a device. `thread` counts through the cluster.
  void access(int thread, std::uintptr_t address, std::size_t bytes, bool is_write, bool is_shared, std::size_t offset);
  // The lanes of these warps have met: what they did so far is whole, though not every lane took part in it.
  void meet_block(int rank);
  void meet_warp(int thread);

  // Instructions that a model sees whole.
  void access_whole(const Instruction& instruction, bool is_write, bool is_shared, std::size_t offset);
  void touch(std::vector<std::uint64_t>& sectors, std::uint64_t bytes, bool is_write, Site site);

  Report report() const;
  void count_launch() { ++launches_; }

 private:
  struct Counted {
    PlaceReport report;
    bool is_write;
    bool is_shared;
  };
  // What the lanes of one warp have executed of one place since they last met.
  struct Line {
    unsigned executed[kLanes] = {};
    std::vector<int> open;  // by execution: an instruction of pool_, or kDone
    bool is_begun = false;
  };
  struct WarpLines {
    std::vector<Line> of_place;
    std::vector<int> begun;  // places
  };
  static constexpr int kDone = -1;

  int place_of(std::uint64_t key, std::size_t offset, Site site, bool is_write, bool is_shared);
  int warp_of(int thread) const {
    return thread / threads_of_block_ * warps_of_block_ + thread % threads_of_block_ / kLanes;
  }
  void meet(WarpLines& warp);
  int open();
  void count(Counted& place, const Instruction& instruction);
  void count_sectors(Sums& sums, const std::vector<std::uint64_t>& sectors, std::uint64_t bytes, bool is_write);

  int threads_of_block_ = 1;
  int warps_of_block_ = 1;
  std::vector<WarpLines> warps_;
  std::unordered_map<std::uint64_t, int> numbers_;
  std::vector<Counted> places_;
  std::vector<Instruction> pool_;
  std::vector<int> free_;
  std::vector<std::uint64_t> sectors_;  // of the instruction in hand
  Footprint read_, written_;
  std::uint64_t launches_ = 0;
};

}  // namespace atrous::sim::traffic
