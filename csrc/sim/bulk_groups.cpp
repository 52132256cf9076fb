// The groups of bulk stores that threads commit and wait for, and the fence between the two proxies.
#include "bulk_groups.hpp"

#include <unordered_map>
#include <utility>
#include <vector>

#include "atrous_sim/mbarrier.hpp"
#include "atrous_sim/tensor_copy.hpp"
#include "services.hpp"

namespace atrous::sim {

namespace {

struct NotedStore {
  int group;
  race::Agent reader, writer;
  bool is_read;  // and a wait has said so
};

struct OwnGroups {
  int open = 0;  // groups committed so far
  std::vector<NotedStore> stores;
};

struct AllGroups {
  std::uint64_t serial = 0;
  std::unordered_map<int, OwnGroups> of;  // threads of the cluster
};

OwnGroups& own_groups() {
  static thread_local AllGroups all;
  const std::uint64_t serial = cluster_serial();
  if (all.serial != serial) {
    all.of.clear();
    all.serial = serial;
  }
  return all.of[block_rank() * thread_count() + thread_number()];
}

}  // namespace

void note_store(race::Agent reader, race::Agent writer) {
  if constexpr (!race::kEnabled) return;
  OwnGroups& own = own_groups();
  own.stores.push_back({own.open, reader, writer, false});
}

void commit_stores() {
  if constexpr (race::kEnabled) ++own_groups().open;
  commit_group(Queue::kBulk, thread_number());
}

void wait_stores(int pending, bool reads_only) {
  wait_groups(Queue::kBulk, thread_number(), pending, reads_only);
  if constexpr (!race::kEnabled) return;
  OwnGroups& own = own_groups();
  std::vector<NotedStore> later;
  for (NotedStore& store : own.stores) {
    if (store.group >= own.open - pending) {
      later.push_back(store);
      continue;
    }
    if (!std::exchange(store.is_read, true)) {
      race::observe(race::self(), store.reader);
      race::end(store.reader);
    }
    if (reads_only) {
      later.push_back(store);
      continue;
    }
    race::observe(race::self(), store.writer);
    race::end(store.writer);
  }
  own.stores = std::move(later);
}

// What mbarrier.hpp promises of a fence of the proxies: it publishes barriers too.
void fence_async_proxy() {
  race::fence_proxy(race::self());
  publish_barriers();
}

}  // namespace atrous::sim
