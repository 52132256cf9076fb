// The sentence about a race: both accesses with their threads and lines, the bytes, and the order that is missing.
#ifdef ATROUS_SIM_RACE

#include <dlfcn.h>

#include <cstdio>

#include "machine.hpp"
#include "race_state.hpp"
#include "services.hpp"

namespace atrous::sim::race {

static std::string base_name(const std::string& path) { return path.substr(path.find_last_of('/') + 1); }

// The lines of an instruction of the extension, the innermost first, by way of binutils' addr2line.
static std::vector<std::string> lines_of(Place place) {
  Dl_info info{};
  if (dladdr(__ehdr_start, &info) == 0 || info.dli_fname == nullptr) return {};
  char command[1024];
  // The instruction is the one ahead of the address that a call returns to.
  std::snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%x 2>/dev/null", info.dli_fname, place - 1);
  std::FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return {};
  std::vector<std::string> lines;
  char line[512];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    std::string text = line;
    text = text.substr(0, text.find_first_of(" \n"));
    if (text.find('?') == std::string::npos) lines.push_back(text);
  }
  pclose(pipe);
  return lines;
}

// " at conv_direct.cuh:120", with what the line is inlined from: " at vec.cuh:27 in conv_direct.cuh:98"
static std::string at(const State& state, Place place) {
  if (place == 0) return "";
  if ((place & kSite) != 0) {
    const Site site = state.sites[place & ~kSite];
    return " at " + base_name(site.file) + ":" + std::to_string(site.line);
  }
  const std::vector<std::string> lines = lines_of(place);
  if (lines.empty()) {
    char text[32];
    std::snprintf(text, sizeof text, " at 0x%x of the extension", place);
    return text;
  }
  std::string text = " at " + base_name(lines.front());
  for (const std::string& line : lines) {
    const bool is_kernel = line.find("/kernels/") != std::string::npos || line.find("/probes/") != std::string::npos ||
                           line.find("test_kernels") != std::string::npos;
    if (!is_kernel) continue;
    return line == lines.front() ? text : text + " in " + base_name(line);
  }
  return text;
}

static std::string whom(const State& state, Agent thread, bool is_operation, int first_block) {
  const int threads = state.threads_of_block;
  return (is_operation ? "an asynchronous operation of thread " : "thread ") + std::to_string(thread % threads) +
         " of block " + std::to_string(first_block + thread / threads);
}

static std::string missing_order(const State& state, const Finding& found, const Segment* earlier) {
  if (found.kind == Finding::Kind::kNotFenced && !found.is_shared)
    return "fence_async_proxy orders shared memory alone, and an operation of the asynchronous proxy sees no other "
           "writes";
  if (found.kind == Finding::Kind::kNotFenced)
    return "no fence_async_proxy lies between them, and an operation of the asynchronous proxy sees no other writes";
  if (found.kind == Finding::Kind::kOtherCluster) return "blocks of a launch run in any order";
  if (earlier == nullptr) return "";
  const Agent now = state.thread_of(found.now.agent);
  // What a thread did before it issued an operation comes before that.
  const bool is_later = state.is_operation(found.now.agent) && earlier->thread == now;
  if (earlier->is_operation != 0 || is_later) return "nothing has waited for that operation";
  const int threads = state.threads_of_block;
  if (earlier->thread / threads != now / threads) return "no barrier of the cluster orders them";
  if (earlier->thread % threads / 32 == now % threads / 32) return "neither sync_warp nor a barrier orders them";
  return "no barrier of the block orders them";
}

// "byte 16 of the static shared atrous::Tile (4096 bytes) of block 3", "global memory at 0x7f0012345678"
static std::string what(const State& state, const Finding& found) {
  const SharedPlace place = shared_place(reinterpret_cast<const void*>(found.address));
  if (place.rank < 0) {
    char text[64];
    std::snprintf(text, sizeof text, "global memory at 0x%zx", static_cast<std::size_t>(found.address));
    return text;
  }
  const SharedMemory::Object* object = active->shared().object_at(place.offset, 1);
  const std::string offset = "byte " + std::to_string(place.offset - (object == nullptr ? 0 : object->start)) + " of ";
  return offset + (object == nullptr ? "the window" : SharedMemory::describe(*object)) + " of block " +
         std::to_string(state.first_block + place.rank);
}

static std::string describe(const State& state, const Finding& found) {
  const std::string text = what(state, found);
  const Agent agent = found.now.agent;
  if (found.kind == Finding::Kind::kMayExit)
    return "it exits while " + whom(state, agent, false, state.first_block) +
           (found.now.is_write ? " writes" : " reads") + at(state, found.now.place) + " " + text +
           "; no barrier of the cluster orders them";
  const bool is_operation = state.is_operation(agent);
  const std::string now = whom(state, state.thread_of(agent), is_operation, state.first_block);
  const std::string place = at(state, found.now.place);
  if (found.kind == Finding::Kind::kUnwritten)
    return now + " reads shared memory that nobody wrote, " + text + "," + place;
  if (found.kind == Finding::Kind::kExited)
    return now + (found.now.is_write ? " writes" : " reads") + place + " " + text +
           ", which has exited; expected a barrier of the cluster ahead of its exit";
  const Segment* earlier = state.shadow.segment(found.earlier);
  const int block = state.shadow.first_block_of(found.earlier);
  const std::string other = earlier == nullptr ? "a thread of block " + std::to_string(block)
                                               : whom(state, earlier->thread, earlier->is_operation != 0, block);
  const std::string why = missing_order(state, found, earlier);
  return "a data race on " + text + ": " + now + (found.now.is_write ? " writes" : " reads") + place + " what " +
         other + (found.earlier_is_write ? " wrote" : " has read") + at(state, found.earlier_place) +
         (why.empty() ? "" : "; " + why);
}

void report(const State& state) {
  const Finding found = state.shadow.found();
  fail("%s", describe(state, found).c_str());
}

void report_from_hook(const State& state) { active->abandon(describe(state, state.shadow.found())); }

}  // namespace atrous::sim::race

#endif
