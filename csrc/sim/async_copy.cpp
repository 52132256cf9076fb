// The model of cp.async: copies that land when a wait, a barrier or the schedule's landing word asks for them.
#include "atrous_sim/async_copy.hpp"

#include <algorithm>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "atrous_sim/mbarrier.hpp"
#include "race.hpp"
#include "services.hpp"
#include "traffic.hpp"

namespace atrous::sim {

namespace {

// One copy under way.
struct Copy {
  unsigned char* shared;
  const unsigned char* global;
  int bytes;
  int valid_bytes;
  race::Agent agent;
  Site site;
  unsigned char taken[16] = {};
  bool is_reported = false;  // to an mbarrier

  void read() {
    if (valid_bytes == 0) return;
    race::read(agent, global, static_cast<std::size_t>(valid_bytes), site);
    std::memcpy(taken, global, static_cast<std::size_t>(valid_bytes));
  }

  void write() {
    race::write(agent, shared, static_cast<std::size_t>(bytes), site);
    std::memcpy(shared, taken, static_cast<std::size_t>(bytes));
  }
};

using Copies = std::vector<std::shared_ptr<Copy>>;

// What a thread has started: the groups that it may still wait for, oldest first, and the one that it fills.
struct Flights {
  std::vector<Copies> groups;
  Copies open;
};

struct Threads {
  std::uint64_t serial = 0;
  std::unordered_map<int, Flights> flights;  // by number in the cluster
};

Flights& flights() {
  static thread_local Threads own;
  const std::uint64_t serial = cluster_serial();
  if (own.serial != serial) {
    own.flights.clear();
    own.serial = serial;
  }
  return own.flights[block_rank() * thread_count() + thread_number()];
}

// A thread whose copies report to mbarriers never waits for a group; what an earlier arrival has told is done with.
void forget_reported(Copies& copies) {
  const auto is_reported = [](const std::shared_ptr<Copy>& copy) {
    if (copy->is_reported) race::end(copy->agent);
    return copy->is_reported;
  };
  copies.erase(std::remove_if(copies.begin(), copies.end(), is_reported), copies.end());
}

const char* file_of(Site site) {
  const char* const slash = std::strrchr(site.file, '/');
  return slash == nullptr ? site.file : slash + 1;
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes, int valid_bytes, Site site) {
  const auto misaligned = [&](const void* pointer) {
    return reinterpret_cast<std::uintptr_t>(pointer) % static_cast<unsigned>(bytes) != 0;
  };
  if (misaligned(shared) || misaligned(global))
    fail("copy_async<%d> at %s:%d: from %p to %p; expected multiples of %d", bytes, file_of(site), site.line, global,
         shared, bytes);
  if (valid_bytes < 0 || valid_bytes > bytes)
    fail("copy_async<%d> at %s:%d: %d valid bytes; expected 0 to %d", bytes, file_of(site), site.line, valid_bytes,
         bytes);
  if (require_shared(shared, static_cast<std::size_t>(bytes), "copy_async").rank != block_rank())
    fail("copy_async<%d> at %s:%d: the destination belongs to another block of the cluster", bytes, file_of(site),
         site.line);
  if (valid_bytes > 0 && shared_place(global).rank >= 0)
    fail("copy_async<%d> at %s:%d: the source lies in shared memory; expected global memory", bytes, file_of(site),
         site.line);
  const void* from = __builtin_return_address(0);
  traffic::access(global, static_cast<std::size_t>(valid_bytes), false, from);
  traffic::access(shared, static_cast<std::size_t>(bytes), true, from);
  const auto copy =
      std::make_shared<Copy>(Copy{static_cast<unsigned char*>(shared), static_cast<const unsigned char*>(global), bytes,
                                  valid_bytes, race::fork(race::self(), false), site});
  flights().open.push_back(copy);
  issue_to(Queue::kCopy, thread_number(),
           {"copy_async", site, [copy] { copy->read(); }, [copy] { copy->write(); }, 0, 1u << block_rank()});
}

void commit_copies() {
  Flights& own = flights();
  own.groups.push_back(std::exchange(own.open, {}));
  commit_group(Queue::kCopy, thread_number());
}

void wait_copies(int pending) {
  wait_groups(Queue::kCopy, thread_number(), pending, false);
  auto& groups = flights().groups;
  if (groups.size() <= static_cast<std::size_t>(pending)) return;
  const auto landed = groups.end() - pending;
  for (auto group = groups.begin(); group != landed; ++group) {
    for (const auto& copy : *group) {
      race::observe(race::self(), copy->agent);
      race::end(copy->agent);
    }
  }
  groups.erase(groups.begin(), landed);
}

void arrive_after_copies(void* barrier, Site site) {
  require_own_barrier(barrier, "arrive_after_copies", site);
  Flights& own = flights();
  forget_reported(own.open);
  Copies before = own.open;
  for (const Copies& group : own.groups) before.insert(before.end(), group.begin(), group.end());
  const race::Agent self = race::fork(race::self(), false);
  const auto land = [before = std::move(before), barrier, self, site] {
    for (const auto& copy : before) {
      race::observe(self, copy->agent);
      copy->is_reported = true;
    }
    arrive_for(barrier, self, site);
    race::end(self);
  };
  issue_after(Queue::kCopy, thread_number(), {"arrive_after_copies", site, {}, land, 0, 1u << block_rank()});
}

}  // namespace atrous::sim
