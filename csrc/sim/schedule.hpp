// The order in which blocks, threads and asynchronous operations get their turn, and the random numbers behind it.
#pragma once

#include <cstdint>
#include <numeric>

namespace atrous::sim {

// kGreedy: one warp runs as long as any of its threads can; of the others the first of an order that the seed gives.
enum class Order { kInOrder, kReverse, kRandom, kGreedy };

// When an asynchronous operation lands: when it must, at once, or somewhere between.
enum class Landing { kLatest, kEarliest, kRandom };

struct Schedule {
  Order order = Order::kInOrder;
  std::uint64_t seed = 0;
  Landing landing = Landing::kLatest;
};

// splitmix64: every seed, 0 too, gives an independent sequence.
class RandomNumbers {
 public:
  explicit RandomNumbers(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }

  // Uniform in [0, count), for count < 2^32.
  std::uint32_t below(std::uint32_t count) { return static_cast<std::uint32_t>(((next() >> 32) * count) >> 32); }

 private:
  std::uint64_t state_;
};

// A permutation of [0, count): forwards, backwards, or i -> factor * i + shift with a random factor prime to count.
class Permutation {
 public:
  Permutation(Schedule schedule, std::uint64_t count) : count_(count), order_(schedule.order) {
    if (order_ != Order::kRandom) return;
    RandomNumbers random(~schedule.seed);
    do {
      factor_ = random.next() % count;
    } while (std::gcd(factor_, count) != 1);
    shift_ = random.next() % count;
  }

  std::uint64_t operator[](std::uint64_t i) const {
    if (order_ == Order::kReverse) return count_ - 1 - i;
    if (order_ != Order::kRandom) return i;
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(factor_) * i + shift_) % count_);
  }

 private:
  std::uint64_t count_;
  std::uint64_t factor_ = 1;
  std::uint64_t shift_ = 0;
  Order order_;
};

}  // namespace atrous::sim
