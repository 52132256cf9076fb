// The tensor maps of a launch: checks their places, encodes them for the pointers of a call and puts them in its image.
#pragma once

#include <cstdint>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "atrous/tensor_map.hpp"

namespace atrous {

// What is wrong with a tensor map, as "what came; expected what".
class TensorMapError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// By the driver in atrous._cuda, by its model in atrous._sim. Throws TensorMapError.
TensorMap encode_tensor_map(const TensorMapRequest& request, std::uint64_t address);

class TensorMaps {
 public:
  // requests: TensorMapRequests one after another, as launch.py packs them
  TensorMaps(const std::string& name, std::string_view requests, std::size_t parameter_bytes, std::size_t pointers)
      : name_(name), maps_(requests.size() / sizeof(TensorMapRequest)) {
    if (requests.size() % sizeof(TensorMapRequest) != 0)
      throw TensorMapError("[" + name + "] the tensor maps have " + std::to_string(requests.size()) +
                           " bytes; expected a multiple of " + std::to_string(sizeof(TensorMapRequest)) + ".");
    for (std::size_t i = 0; i < maps_.size(); ++i) {
      TensorMapRequest& request = maps_[i].request;
      std::memcpy(&request, requests.data() + i * sizeof request, sizeof request);
      const std::uint64_t end = static_cast<std::uint64_t>(request.offset) + sizeof(TensorMap);
      if (request.offset < 0 || request.offset % static_cast<int>(alignof(TensorMap)) != 0 || end > parameter_bytes ||
          static_cast<std::size_t>(request.offset) < pointers * sizeof(void*))
        complain(i, "its place is byte " + std::to_string(request.offset) +
                        " of the parameters; expected a multiple of " + std::to_string(alignof(TensorMap)) +
                        " past the pointers, with " + std::to_string(sizeof(TensorMap)) + " bytes of them left");
      if (request.pointer_slot < 0 || static_cast<std::size_t>(request.pointer_slot) >= pointers)
        complain(i, "its tensor is pointer " + std::to_string(request.pointer_slot) + "; expected one of " +
                        std::to_string(pointers));
    }
  }

  // image: the parameters of a call, its pointers filled in. An absent tensor, 0, leaves its map zero. Encodes anew
  // only where the address is another one than at the last call; two threads may call at a time.
  void fill(unsigned char* image) {
    for (std::size_t i = 0; i < maps_.size(); ++i) {
      const TensorMapRequest& request = maps_[i].request;
      std::uint64_t address;
      std::memcpy(&address, image + request.pointer_slot * static_cast<int>(sizeof address), sizeof address);
      TensorMap map{};
      if (address != 0) {
        try {
          map = encoded(maps_[i], address);
        } catch (const TensorMapError& error) {
          complain(i, error.what());
        }
      }
      std::memcpy(image + request.offset, &map, sizeof map);
    }
  }

 private:
  struct Entry {
    TensorMapRequest request;
    std::uint64_t address = 0;
    TensorMap map{};
  };

  TensorMap encoded(Entry& entry, std::uint64_t address) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (entry.address != address) {
      entry.map = encode_tensor_map(entry.request, address);
      entry.address = address;
    }
    return entry.map;
  }

  [[noreturn]] void complain(std::size_t i, const std::string& what) const {
    throw TensorMapError("[" + name_ + "] tensor map " + std::to_string(i) + ": " + what + ".");
  }

  std::string name_;
  std::vector<Entry> maps_;
  std::mutex mutex_;
};

}  // namespace atrous
