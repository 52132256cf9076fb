// The shared memory of the running cluster: a window a block, poisoned, with a red zone on both sides of every object.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace atrous::sim {

constexpr std::size_t kDefaultSharedBytes = 48 * 1024;   // of a block, static and dynamic together
constexpr std::size_t kLargestSharedBytes = 227 * 1024;  // for a launch that asked for more than the default

// One layout serves all blocks of the cluster: an object has the same offset in every window, whichever block named it
// first. Windows start at multiples of 1024.
class SharedMemory {
 public:
  void begin_launch(std::size_t dynamic_bytes, int blocks);
  void begin_cluster();

  unsigned char* window(int rank) const { return memory_.get() + static_cast<std::size_t>(rank) * window_bytes(); }
  std::size_t bytes() const { return static_cast<std::size_t>(blocks_) * window_bytes(); }  // of all windows
  unsigned char* dynamic(int rank) const { return window(rank) + dynamic_offset(); }

  // The object of `key`, made and poisoned at its first use in a cluster; null if a block has no room left.
  void* static_object(int rank, const void* key, std::size_t bytes, std::size_t alignment, const char* function);

  std::size_t static_bytes() const { return static_bytes_; }
  std::size_t dynamic_bytes() const { return dynamic_bytes_; }
  std::size_t limit() const { return dynamic_bytes_ > kDefaultSharedBytes ? kLargestSharedBytes : kDefaultSharedBytes; }

  // The block whose window holds the pointer, or -1.
  int rank_of(const void* pointer) const;

  struct Object {
    const void* key;  // null for dynamic shared memory
    std::size_t start;
    std::size_t bytes;
    const char* function;  // a signature that spells the type
  };

  // The object that holds all `bytes` from `offset` on, or null.
  const Object* object_at(std::size_t offset, std::size_t bytes) const;

  template <class Act>
  void for_each_object(Act act) const {
    for (const Object& object : objects_) act(object);
  }

  // "dynamic shared memory (100 bytes)", "the static shared atrous::Tile (4096 bytes)"
  static std::string describe(const Object& object);

  // A sentence about the first damaged red zone of a block, or an empty string.
  std::string damage(int rank) const;

  // Poisons the window of a block that has exited, so that later reads show; later_write finds what was written since.
  void retire(int rank);
  std::string later_write(int rank) const;

 private:
  struct Free {
    void operator()(unsigned char* memory) const;
  };

  static std::size_t window_bytes();
  static std::size_t dynamic_offset();

  std::unique_ptr<unsigned char, Free> memory_;
  int room_ = 0;          // blocks that memory_ has windows for
  int blocks_ = 0;        // of the cluster
  std::size_t next_ = 0;  // where the next static object may start
  std::size_t dynamic_bytes_ = 0;
  std::size_t static_bytes_ = 0;
  std::vector<Object> objects_;  // the first is dynamic shared memory
};

}  // namespace atrous::sim
