// Asynchronous operations in flight: those that land by themselves, and the groups that owners wait for.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "schedule.hpp"
#include "services.hpp"
#include "thread.hpp"

namespace atrous::sim {

struct Flight {
  AsyncOperation operation;
  const Block* issuer = nullptr;
  bool has_read = false;
  bool has_landed = false;
  bool was_asked = false;  // whether a wait has asked at least for its read
  int group = 0;
  std::uint64_t serial = 0;
  int after = -1;  // the queue whose operations with smaller serials land first
};

class Flights {
 public:
  // kLatest with a random order picks at random too, so that both share the machine's numbers.
  void begin_launch(Schedule schedule, RandomNumbers& random);
  void begin_cluster(int owners);

  void issue(AsyncOperation operation, const Block* issuer, int after = -1);
  void issue_to(int queue, AsyncOperation operation, const Block* issuer);
  void commit(int queue);
  void wait(int queue, int pending, bool reads_only);

  // Index of an owner's queue; owner counts through the cluster.
  int queue_of(Queue queue, int owner) const { return static_cast<int>(queue) * owners_ + owner; }

  // Lands everything that was issued to the queue.
  void drain(int queue);

  // Lands one operation of those that land by themselves; false if there is none.
  bool land_one();

  // Under kRandom: a few steps of whatever is in flight.
  bool is_restless() const { return landing_ == Landing::kRandom && (!free_.empty() || !busy_.empty()); }
  void advance_at_random();

  // The first that has not read from, or not landed in, the shared memory of a block; or null.
  const Flight* bound_to_block(int rank) const;
  // The first of a queue whose read no wait has asked for; or null.
  const Flight* unasked(int queue) const;

  bool is_used() const { return is_used_; }  // whether anything was issued to a queue of this cluster
  const Flight* acting() const { return acting_; }

 private:
  using Owned = std::unique_ptr<Flight>;
  struct Line {
    std::vector<Owned> flights;
    int open_group = 0;
    bool is_ordered = false;
    bool is_kept_until_asked = false;
    bool is_busy = false;  // listed in busy_
  };

  Owned make(AsyncOperation operation, const Block* issuer);
  void act(Flight& flight, const std::function<void()>& step);
  void read(Flight& flight);
  void land(Flight& flight);
  void land_line(Line& line, int end_group, std::uint64_t end_serial, bool reads_only);
  void tidy(Line& line);
  std::size_t pick(std::size_t count);

  Landing landing_ = Landing::kLatest;
  Order order_ = Order::kInOrder;
  RandomNumbers* random_ = nullptr;
  int owners_ = 0;
  bool is_used_ = false;
  std::uint64_t next_serial_ = 0;
  std::vector<Owned> free_;
  std::vector<Line> lines_;  // [3, owners], made at the first use in a cluster
  std::vector<int> busy_;    // lines that hold flights
  const Flight* acting_ = nullptr;
};

}  // namespace atrous::sim
