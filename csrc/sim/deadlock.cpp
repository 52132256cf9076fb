// Names deadlocks: which threads wait where, and why that can never end.
#include <utility>

#include "thread.hpp"

namespace atrous::sim {

namespace {

const char* collective_name(const Thread& thread) {
  switch (thread.kind) {
    case Collective::kShuffleXor:
      return "shuffle_xor";
    case Collective::kShuffleDown:
      return "shuffle_down";
    case Collective::kShuffleFrom:
      return "shuffle_from";
    case Collective::kBallot:
      return "ballot";
    case Collective::kWarpBarrier:
      return "sync_warp";
    case Collective::kNamed:
      return thread.name;
  }
  return "";
}

std::string describe_wait(const Thread& thread) {
  switch (thread.state) {
    case State::kReady:
      return "can run";
    case State::kAtBlockBarrier:
      return "wait at the block barrier" + place_of(thread.site);
    case State::kAtCollective:
      return std::string("wait in ") + collective_name(thread) + place_of(thread.site);
    case State::kAsleep:
      return "wait " + thread.describe(thread.cell) + place_of(thread.site);
    case State::kPolling:
      return "poll " + thread.describe(thread.cell) + place_of(thread.site);
    case State::kDone:
      return "have exited";
  }
  return "";
}

std::string range(int first, int last) {
  return first == last ? std::to_string(first) : std::to_string(first) + "-" + std::to_string(last);
}

// The lanes of `lanes` as ranges: "0-3, 7".
std::string lane_ranges(unsigned lanes) {
  std::string text;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((lanes >> lane & 1u) == 0) continue;
    const int first = lane;
    while (lane + 1 < kWarpLanes && (lanes >> (lane + 1) & 1u) != 0) ++lane;
    text += (text.empty() ? "" : ", ") + range(first, lane);
  }
  return text;
}

// Why the collective of this lane never ends; empty if it can.
std::string name_incomplete_warp(const Thread* block, int count, const Thread& waiting) {
  const int first = waiting.number / kWarpLanes * kWarpLanes;
  unsigned missing = 0, absent = 0;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((waiting.mask >> lane & 1u) == 0) continue;
    if (first + lane >= count)
      absent |= 1u << lane;
    else if (block[first + lane].state != State::kAtCollective)
      missing |= 1u << lane;
  }
  const std::string warp = std::string(collective_name(waiting)) + " of warp " + std::to_string(first / kWarpLanes);
  if (absent != 0) return warp + " names lanes " + lane_ranges(absent) + ", which this block does not have";
  if (missing != 0) return "lanes " + lane_ranges(missing) + " never arrive at the " + warp;
  return "";
}

std::string describe_block(const Thread* block, int count) {
  std::vector<std::pair<std::string, std::string>> groups;  // what they do, which they are
  for (int i = 0; i < count;) {
    const std::string wait = describe_wait(block[i]);
    int last = i;
    while (last + 1 < count && describe_wait(block[last + 1]) == wait) ++last;
    const std::string which = range(i, last);
    std::size_t group = 0;
    while (group < groups.size() && groups[group].first != wait) ++group;
    if (group == groups.size())
      groups.emplace_back(wait, which);
    else
      groups[group].second += ", " + which;
    i = last + 1;
  }
  std::string text;
  for (const auto& [wait, which] : groups) text += (text.empty() ? "threads " : "; threads ") + which + " " + wait;
  return text;
}

// Why nobody can run, as far as the states of the threads tell.
std::string name_reason(ThreadList threads) {
  bool has_exited = false, is_at_barrier = false, is_asleep = false;
  for (int i = 0; i < threads.blocks * threads.block_threads; ++i) {
    const Thread& thread = threads.first[i];
    const Thread* block = threads.first + thread.block->rank * threads.block_threads;
    has_exited = has_exited || thread.state == State::kDone;
    is_at_barrier = is_at_barrier || thread.state == State::kAtBlockBarrier;
    is_asleep = is_asleep || thread.state == State::kAsleep || thread.state == State::kPolling;
    if (thread.state != State::kAtCollective) continue;
    const std::string incomplete = name_incomplete_warp(block, threads.block_threads, thread);
    if (!incomplete.empty()) return incomplete;
  }
  if (is_asleep) return "nothing can end what threads wait for";
  if (is_at_barrier && has_exited) return "exited threads never arrive at the barrier";
  return "threads wait for each other";
}

}  // namespace

std::string place_of(Site site) {
  const std::string path = site.file;
  return " at " + path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

std::string describe_index(const dim3& at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

std::string describe_threads(ThreadList threads) {
  if (threads.blocks == 1) return describe_block(threads.first, threads.block_threads);
  std::string text;
  for (int rank = 0; rank < threads.blocks; ++rank) {
    const Thread* block = threads.first + rank * threads.block_threads;
    text += (rank == 0 ? "block " : "; block ") + describe_index(block->block->words.block_index) + ": " +
            describe_block(block, threads.block_threads);
  }
  return text;
}

std::string name_deadlock(ThreadList threads) {
  return "deadlock, " + name_reason(threads) + ": " + describe_threads(threads);
}

}  // namespace atrous::sim
