// Shared memory of a cluster: layout, poison and red zones.
#include "shared_memory.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace atrous::sim {

namespace {

constexpr unsigned char kPoison = 0xff;  // NaN in every float format, -1 in every signed integer
constexpr std::size_t kRedZoneBytes = 256;
constexpr std::size_t kAlignment = 1024;
constexpr std::size_t kMostObjects = 32;
constexpr std::size_t kWindowBytes = kLargestSharedBytes + (kMostObjects + 2) * (2 * kRedZoneBytes + kAlignment);
// Aligned to 16 bytes, as promised, and to no more.
constexpr std::size_t kDynamicOffset = kRedZoneBytes + 16;

// NaN in every float format as well, so that a read of a red zone shows, yet unlike the poison, so that a write does.
unsigned char red_byte(std::size_t i) { return i % 2 == 0 ? 0xff : 0x7f; }

struct RedZone {
  unsigned char bytes[kRedZoneBytes];
  RedZone() {
    for (std::size_t i = 0; i < kRedZoneBytes; ++i) bytes[i] = red_byte(i);
  }
};
const RedZone kRedZone;

// Poisons an object and puts its red zones around it.
void make(unsigned char* start, std::size_t bytes) {
  std::memset(start, kPoison, bytes);
  std::memcpy(start - kRedZoneBytes, kRedZone.bytes, kRedZoneBytes);
  std::memcpy(start + bytes, kRedZone.bytes, kRedZoneBytes);
}

// Offset of the first damaged byte, or kRedZoneBytes.
std::size_t first_damage(const unsigned char* zone) {
  if (std::memcmp(zone, kRedZone.bytes, kRedZoneBytes) == 0) return kRedZoneBytes;
  std::size_t i = 0;
  while (zone[i] == kRedZone.bytes[i]) ++i;
  return i;
}

std::string damage_around(const unsigned char* start, std::size_t bytes, const std::string& what) {
  std::size_t i = first_damage(start + bytes);
  if (i < kRedZoneBytes) return "a write past the end of " + what + ", at byte " + std::to_string(bytes + i);
  i = first_damage(start - kRedZoneBytes);
  if (i < kRedZoneBytes)
    return "a write before the start of " + what + ", at byte -" + std::to_string(kRedZoneBytes - i);
  return "";
}

// "T& atrous::prims::shared() [with T = atrous::Tile]" -> "atrous::Tile"
std::string type_in(const std::string& function) {
  const std::size_t start = function.find("T = ");
  return start == std::string::npos ? function : function.substr(start + 4, function.size() - start - 5);
}

std::size_t align_up(std::size_t offset, std::size_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

}  // namespace

void SharedMemory::Free::operator()(unsigned char* memory) const { std::free(memory); }

std::size_t SharedMemory::window_bytes() { return kWindowBytes; }

std::size_t SharedMemory::dynamic_offset() { return kDynamicOffset; }

void SharedMemory::begin_launch(std::size_t dynamic_bytes, int blocks) {
  static_assert(kWindowBytes % kAlignment == 0, "every window starts at a multiple of the alignment");
  if (blocks > room_) {
    memory_.reset();
    room_ = 0;
    const std::size_t bytes = kWindowBytes * static_cast<std::size_t>(blocks);
    memory_.reset(static_cast<unsigned char*>(std::aligned_alloc(kAlignment, bytes)));
    if (memory_ == nullptr) throw std::bad_alloc();
    room_ = blocks;
  }
  blocks_ = blocks;
  dynamic_bytes_ = dynamic_bytes;
  for (int rank = 0; rank < blocks_; ++rank) make(dynamic(rank), dynamic_bytes_);
}

void SharedMemory::begin_cluster() {
  for (int rank = 0; rank < blocks_; ++rank) std::memset(dynamic(rank), kPoison, dynamic_bytes_);
  objects_.assign(1, {nullptr, kDynamicOffset, dynamic_bytes_, nullptr});
  static_bytes_ = 0;
  next_ = kDynamicOffset + dynamic_bytes_ + kRedZoneBytes;
}

void* SharedMemory::static_object(int rank, const void* key, std::size_t bytes, std::size_t alignment,
                                  const char* function) {
  for (const Object& object : objects_) {
    if (object.key == key) return window(rank) + object.start;
  }
  static_bytes_ = align_up(static_bytes_, alignment) + bytes;
  if (static_bytes_ > kDefaultSharedBytes || static_bytes_ + dynamic_bytes_ > limit()) return nullptr;
  if (objects_.size() > kMostObjects || alignment > kAlignment) return nullptr;
  const std::size_t start = align_up(next_ + kRedZoneBytes, alignment);
  for (int each = 0; each < blocks_; ++each) make(window(each) + start, bytes);
  next_ = start + bytes + kRedZoneBytes;
  objects_.push_back({key, start, bytes, function});
  return window(rank) + start;
}

int SharedMemory::rank_of(const void* pointer) const {
  const auto offset = reinterpret_cast<std::uintptr_t>(pointer) - reinterpret_cast<std::uintptr_t>(memory_.get());
  const std::uintptr_t rank = offset / kWindowBytes;
  return rank < static_cast<std::uintptr_t>(blocks_) ? static_cast<int>(rank) : -1;
}

const SharedMemory::Object* SharedMemory::object_at(std::size_t offset, std::size_t bytes) const {
  for (const Object& object : objects_) {
    if (object.start <= offset && offset + bytes <= object.start + object.bytes) return &object;
  }
  return nullptr;
}

std::string SharedMemory::describe(const Object& object) {
  const std::string what =
      object.key == nullptr ? "dynamic shared memory" : "the static shared " + type_in(object.function);
  return what + " (" + std::to_string(object.bytes) + " bytes)";
}

std::string SharedMemory::damage(int rank) const {
  for (const Object& object : objects_) {
    const std::string found = damage_around(window(rank) + object.start, object.bytes, describe(object));
    if (!found.empty()) return found;
  }
  return "";
}

void SharedMemory::retire(int rank) {
  for (const Object& object : objects_) std::memset(window(rank) + object.start, kPoison, object.bytes);
}

std::string SharedMemory::later_write(int rank) const {
  for (const Object& object : objects_) {
    const unsigned char* start = window(rank) + object.start;
    const unsigned char* end = start + object.bytes;
    const unsigned char* found = std::find_if(start, end, [](unsigned char byte) { return byte != kPoison; });
    if (found != end) return "byte " + std::to_string(found - start) + " of " + describe(object);
  }
  return damage(rank);
}

}  // namespace atrous::sim
