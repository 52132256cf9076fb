// When asynchronous operations read and land.
#include "flights.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "race.hpp"

namespace atrous::sim {

void Flights::begin_launch(Schedule schedule, RandomNumbers& random) {
  landing_ = schedule.landing;
  order_ = schedule.order;
  random_ = &random;
}

void Flights::begin_cluster(int owners) {
  free_.clear();
  busy_.clear();
  if (is_used_) lines_.clear();
  is_used_ = false;
  owners_ = owners;
  acting_ = nullptr;
}

Flights::Owned Flights::make(AsyncOperation operation, const Block* issuer) {
  Owned flight = std::make_unique<Flight>();
  flight->operation = std::move(operation);
  flight->issuer = issuer;
  flight->serial = next_serial_++;
  return flight;
}

// A failure inside a step finds the operation in acting_.
void Flights::act(Flight& flight, const std::function<void()>& step) {
  if (!step) return;
  const Flight* outer = std::exchange(acting_, &flight);
  const race::Agent outer_agent = race::self();
  race::set_self(-1);
  step();
  race::set_self(outer_agent);
  acting_ = outer;
}

void Flights::read(Flight& flight) {
  if (std::exchange(flight.has_read, true)) return;
  act(flight, flight.operation.read);
}

void Flights::land(Flight& flight) {
  if (flight.has_landed) return;
  if (flight.after >= 0) {
    Line& line = lines_[static_cast<std::size_t>(flight.after)];
    land_line(line, std::numeric_limits<int>::max(), flight.serial, false);
  }
  read(flight);
  flight.has_landed = true;
  act(flight, flight.operation.write);
}

void Flights::issue(AsyncOperation operation, const Block* issuer, int after) {
  Owned flight = make(std::move(operation), issuer);
  flight->after = is_used_ ? after : -1;
  if (landing_ == Landing::kEarliest)
    land(*flight);
  else
    free_.push_back(std::move(flight));
}

void Flights::issue_to(int queue, AsyncOperation operation, const Block* issuer) {
  if (!std::exchange(is_used_, true)) lines_.resize(static_cast<std::size_t>(3) * static_cast<std::size_t>(owners_));
  Line& line = lines_[static_cast<std::size_t>(queue)];
  line.is_ordered = queue >= queue_of(Queue::kMatrix, 0);
  line.is_kept_until_asked = queue >= queue_of(Queue::kBulk, 0);
  line.flights.push_back(make(std::move(operation), issuer));
  line.flights.back()->group = line.open_group;
  if (!std::exchange(line.is_busy, true)) busy_.push_back(queue);
  if (landing_ != Landing::kEarliest) return;
  land(*line.flights.back());
  tidy(line);
}

void Flights::commit(int queue) {
  if (is_used_) ++lines_[static_cast<std::size_t>(queue)].open_group;
}

void Flights::wait(int queue, int pending, bool reads_only) {
  if (!is_used_) return;
  Line& line = lines_[static_cast<std::size_t>(queue)];
  land_line(line, line.open_group - pending, std::numeric_limits<std::uint64_t>::max(), reads_only);
}

void Flights::drain(int queue) {
  land_line(lines_[static_cast<std::size_t>(queue)], std::numeric_limits<int>::max(),
            std::numeric_limits<std::uint64_t>::max(), false);
}

// Index of the one of `count` operations, oldest first, that lands next.
std::size_t Flights::pick(std::size_t count) {
  if (order_ == Order::kReverse) return count - 1;
  const bool is_random = order_ == Order::kRandom || landing_ == Landing::kRandom;
  return is_random ? random_->below(static_cast<std::uint32_t>(count)) : 0;
}

void Flights::land_line(Line& line, int end_group, std::uint64_t end_serial, bool reads_only) {
  std::vector<Flight*> due;
  for (const Owned& flight : line.flights) {
    if (flight->group >= end_group || flight->serial >= end_serial) break;
    flight->was_asked = true;
    if (!flight->has_landed) due.push_back(flight.get());
  }
  while (!due.empty()) {
    const auto next = due.begin() + static_cast<std::ptrdiff_t>(line.is_ordered ? 0 : pick(due.size()));
    reads_only ? read(**next) : land(**next);
    due.erase(next);
  }
  tidy(line);
}

void Flights::tidy(Line& line) {
  const auto is_over = [&line](const Owned& flight) {
    return flight->has_landed && (flight->was_asked || !line.is_kept_until_asked);
  };
  line.flights.erase(std::remove_if(line.flights.begin(), line.flights.end(), is_over), line.flights.end());
  if (!line.flights.empty() || !std::exchange(line.is_busy, false)) return;
  busy_.erase(std::find(busy_.begin(), busy_.end(), static_cast<int>(&line - lines_.data())));
}

bool Flights::land_one() {
  if (free_.empty()) return false;
  const auto next = free_.begin() + static_cast<std::ptrdiff_t>(pick(free_.size()));
  const Owned flight = std::move(*next);
  free_.erase(next);
  land(*flight);
  return true;
}

void Flights::advance_at_random() {
  while (is_restless() && random_->below(2) == 0) {
    const auto choice = random_->below(static_cast<std::uint32_t>(free_.size() + busy_.size()));
    if (choice < free_.size()) {
      if (free_[choice]->has_read || random_->below(2) == 0)
        land_one();
      else if (free_[choice]->after < 0)
        read(*free_[choice]);
      continue;
    }
    Line& line = lines_[static_cast<std::size_t>(busy_[choice - free_.size()])];
    const auto is_waiting = [](const Owned& flight) { return !flight->has_landed; };
    const auto first = std::find_if(line.flights.begin(), line.flights.end(), is_waiting);
    if (line.is_ordered && first == line.flights.end()) continue;
    Flight& flight =
        line.is_ordered ? **first : *line.flights[random_->below(static_cast<std::uint32_t>(line.flights.size()))];
    flight.has_read ? land(flight) : read(flight);
    tidy(line);
  }
}

const Flight* Flights::bound_to_block(int rank) const {
  for (const Owned& flight : free_) {
    const unsigned blocks = flight->operation.writes_blocks | (flight->has_read ? 0u : flight->operation.reads_blocks);
    if ((blocks >> rank & 1u) != 0) return flight.get();
  }
  return nullptr;
}

const Flight* Flights::unasked(int queue) const {
  for (const Owned& flight : lines_[static_cast<std::size_t>(queue)].flights) {
    if (!flight->was_asked) return flight.get();
  }
  return nullptr;
}

}  // namespace atrous::sim
