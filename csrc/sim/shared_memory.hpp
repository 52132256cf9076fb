// The shared memory of the running block: poisoned, with a red zone on both sides of every object.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace atrous::sim {

constexpr std::size_t kDefaultSharedBytes = 48 * 1024;   // of a block, static and dynamic together
constexpr std::size_t kLargestSharedBytes = 227 * 1024;  // for a launch that asked for more than the default

class SharedMemory {
 public:
  SharedMemory();

  void begin_launch(std::size_t dynamic_bytes);
  void begin_block();

  unsigned char* dynamic() const { return dynamic_; }

  // The object of `key`, made and poisoned at its first use in a block; null if the block has no room left.
  void* static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function);

  std::size_t static_bytes() const { return static_bytes_; }
  std::size_t dynamic_bytes() const { return dynamic_bytes_; }
  std::size_t limit() const { return dynamic_bytes_ > kDefaultSharedBytes ? kLargestSharedBytes : kDefaultSharedBytes; }

  // A sentence about the first damaged red zone, or an empty string.
  std::string damage() const;

 private:
  struct Object {
    const void* key;
    unsigned char* start;
    std::size_t bytes;
    const char* function;  // a signature that spells the type
  };

  struct Free {
    void operator()(unsigned char* memory) const;
  };

  std::unique_ptr<unsigned char, Free> memory_;
  unsigned char* dynamic_ = nullptr;
  unsigned char* next_ = nullptr;  // where the next static object may start
  std::size_t dynamic_bytes_ = 0;
  std::size_t static_bytes_ = 0;
  std::vector<Object> objects_;
};

}  // namespace atrous::sim
