// Names deadlocks: which threads wait where, and why that can never end.
#include <utility>

#include "thread.hpp"

namespace atrous::sim {

namespace {

const char* name(Collective kind) {
  switch (kind) {
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
  }
  return "";
}

std::string place(Site site) {
  const std::string path = site.file;
  return " at " + path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

std::string describe_wait(const Thread& thread) {
  switch (thread.state) {
    case State::kReady:
      return "can run";
    case State::kAtBlockBarrier:
      return "wait at the block barrier" + place(thread.site);
    case State::kAtCollective:
      return "wait in " + std::string(name(thread.kind)) + place(thread.site);
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
std::string name_incomplete_warp(const std::vector<Thread>& threads, const Thread& waiting) {
  const int first = waiting.number / kWarpLanes * kWarpLanes;
  unsigned missing = 0, absent = 0;
  for (int lane = 0; lane < kWarpLanes; ++lane) {
    if ((waiting.mask >> lane & 1u) == 0) continue;
    const auto number = static_cast<std::size_t>(first + lane);
    if (number >= threads.size())
      absent |= 1u << lane;
    else if (threads[number].state != State::kAtCollective)
      missing |= 1u << lane;
  }
  const std::string warp = std::string(name(waiting.kind)) + " of warp " + std::to_string(first / kWarpLanes);
  if (absent != 0) return warp + " names lanes " + lane_ranges(absent) + ", which this block does not have";
  if (missing != 0) return "lanes " + lane_ranges(missing) + " never arrive at the " + warp;
  return "";
}

}  // namespace

std::string describe_threads(const std::vector<Thread>& threads) {
  std::vector<std::pair<std::string, std::string>> groups;  // what they do, which they are
  for (std::size_t i = 0; i < threads.size();) {
    const std::string wait = describe_wait(threads[i]);
    std::size_t last = i;
    while (last + 1 < threads.size() && describe_wait(threads[last + 1]) == wait) ++last;
    const std::string which = range(static_cast<int>(i), static_cast<int>(last));
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

std::string name_deadlock(const std::vector<Thread>& threads) {
  bool exited = false;
  for (const Thread& thread : threads) {
    exited = exited || thread.state == State::kDone;
    if (thread.state != State::kAtCollective) continue;
    const std::string incomplete = name_incomplete_warp(threads, thread);
    if (!incomplete.empty()) return "deadlock, " + incomplete + ": " + describe_threads(threads);
  }
  return std::string("deadlock, ") +
         (exited ? "exited threads never arrive at the barrier: " : "threads wait for each other: ") +
         describe_threads(threads);
}

}  // namespace atrous::sim
