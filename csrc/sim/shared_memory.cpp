// Shared memory of a block: layout, poison and red zones.
#include "shared_memory.hpp"

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
constexpr std::size_t kMemoryBytes = kLargestSharedBytes + (kMostObjects + 2) * (2 * kRedZoneBytes + kAlignment);

// NaN in every float format as well, so that a read of a red zone shows, yet unlike the poison, so that a write does.
unsigned char red_byte(std::size_t i) { return i % 2 == 0 ? 0xff : 0x7f; }

struct RedZone {
  unsigned char bytes[kRedZoneBytes];
  RedZone() {
    for (std::size_t i = 0; i < kRedZoneBytes; ++i) bytes[i] = red_byte(i);
  }
};
const RedZone kRedZone;

// Offset of the first damaged byte, or kRedZoneBytes.
std::size_t first_damage(const unsigned char* zone) {
  if (std::memcmp(zone, kRedZone.bytes, kRedZoneBytes) == 0) return kRedZoneBytes;
  std::size_t i = 0;
  while (zone[i] == kRedZone.bytes[i]) ++i;
  return i;
}

std::string damage_around(const unsigned char* start, std::size_t bytes, const std::string& what) {
  const std::string size = std::to_string(bytes) + " bytes";
  std::size_t i = first_damage(start + bytes);
  if (i < kRedZoneBytes)
    return "a write past the end of " + what + " (" + size + "), at byte " + std::to_string(bytes + i);
  i = first_damage(start - kRedZoneBytes);
  if (i < kRedZoneBytes)
    return "a write before the start of " + what + " (" + size + "), at byte -" + std::to_string(kRedZoneBytes - i);
  return "";
}

// "T& atrous::prims::shared() [with T = atrous::Tile]" -> "atrous::Tile"
std::string type_in(const std::string& function) {
  const std::size_t start = function.find("T = ");
  return start == std::string::npos ? function : function.substr(start + 4, function.size() - start - 5);
}

unsigned char* align_up(unsigned char* pointer, std::size_t alignment) {
  const std::size_t over = reinterpret_cast<std::uintptr_t>(pointer) % alignment;
  return over == 0 ? pointer : pointer + (alignment - over);
}

}  // namespace

void SharedMemory::Free::operator()(unsigned char* memory) const { std::free(memory); }

SharedMemory::SharedMemory() : memory_(static_cast<unsigned char*>(std::aligned_alloc(kAlignment, kMemoryBytes))) {
  static_assert(kMemoryBytes % kAlignment == 0, "aligned_alloc asks for it");
  if (memory_ == nullptr) throw std::bad_alloc();
}

void SharedMemory::begin_launch(std::size_t dynamic_bytes) {
  dynamic_bytes_ = dynamic_bytes;
  // Aligned to 16 bytes, as promised, and to no more.
  dynamic_ = memory_.get() + kRedZoneBytes + 16;
  std::memcpy(dynamic_ - kRedZoneBytes, kRedZone.bytes, kRedZoneBytes);
  std::memcpy(dynamic_ + dynamic_bytes, kRedZone.bytes, kRedZoneBytes);
}

void SharedMemory::begin_block() {
  std::memset(dynamic_, kPoison, dynamic_bytes_);
  objects_.clear();
  static_bytes_ = 0;
  next_ = dynamic_ + dynamic_bytes_ + kRedZoneBytes;
}

void* SharedMemory::static_object(const void* key, std::size_t bytes, std::size_t alignment, const char* function) {
  for (const Object& object : objects_) {
    if (object.key == key) return object.start;
  }
  static_bytes_ = (static_bytes_ + alignment - 1) / alignment * alignment + bytes;
  if (static_bytes_ > kDefaultSharedBytes || static_bytes_ + dynamic_bytes_ > limit()) return nullptr;
  if (objects_.size() == kMostObjects || alignment > kAlignment) return nullptr;
  unsigned char* start = align_up(next_ + kRedZoneBytes, alignment);
  std::memset(start, kPoison, bytes);
  std::memcpy(start - kRedZoneBytes, kRedZone.bytes, kRedZoneBytes);
  std::memcpy(start + bytes, kRedZone.bytes, kRedZoneBytes);
  next_ = start + bytes + kRedZoneBytes;
  objects_.push_back({key, start, bytes, function});
  return start;
}

std::string SharedMemory::damage() const {
  std::string found = damage_around(dynamic_, dynamic_bytes_, "dynamic shared memory");
  for (const Object& object : objects_) {
    if (found.empty())
      found = damage_around(object.start, object.bytes, "the static shared " + type_in(object.function));
  }
  return found;
}

}  // namespace atrous::sim
