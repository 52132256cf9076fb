// What the model of wgmma remembers of each warp: registers that wgmmas use, groups, and what its warpgroup has issued.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "atrous_sim/wgmma.hpp"
#include "race.hpp"
#include "services.hpp"

namespace atrous::sim {

// An array of registers in the frames of the 32 lanes of a warp. Only while nothing but wgmma touches it do its values
// stay what they were. The frame may be gone when nothing is in flight any more: what is read there then is compared
// with nothing.
class TrackedRegisters {
 public:
  TrackedRegisters() = default;
  TrackedRegisters(void* const* lanes, int words);

  bool is_same_array(void* const* lanes, int words) const;
  bool is_unchanged() const;
  void remember();  // the values of now

  std::uint32_t* values() { return known_.data(); }  // [32, words], as last remembered
  void write_values();                               // to the lanes

  int in_flight = 0;

 private:
  void* lanes_[32] = {};
  int words_ = 0;
  std::vector<std::uint32_t> known_;
};

// What the four warps of a warpgroup must agree in.
struct WgmmaCall {
  WgmmaShape shape;
  bool is_a_in_registers;
  std::uint64_t a_descriptor;
  std::uint64_t b_descriptor;
  bool accumulate;
  Site site;
};

struct WarpRecord {
  bool has_fenced = false;
  bool has_waited = false;  // since the last fence
  std::uint64_t issued = 0;
  std::map<const void*, TrackedRegisters> registers;  // by the array of lane 0
  std::deque<std::vector<race::Agent>> groups;        // committed, not waited for
  std::vector<race::Agent> open_group;
};

struct WarpgroupRecord {
  WarpRecord warps[4];
  std::deque<WgmmaCall> calls;  // those that not every warp has issued yet
  std::uint64_t first_call = 0;
};

// Of the running thread's warpgroup, in this cluster.
WarpgroupRecord& own_warpgroup();
inline WarpRecord& own_warp() { return own_warpgroup().warps[thread_number() / 32 % 4]; }

// Fails unless the call is the one that the other warps made in its place.
void compare_with_warpgroup(const WgmmaCall& call);

}  // namespace atrous::sim
