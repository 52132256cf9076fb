// Encodes tensor maps on the model: every limit that the CUDA driver states, each with a sentence of its own.
#include "tensor_map.hpp"

#include <cstring>

#include "services.hpp"
#include "tensor_maps.hpp"

namespace atrous {

namespace {

using sim::TensorMapImage;

constexpr std::uint64_t kMagic = 0x70616d2d74726f61ull;
constexpr int64 kMostBox = 256;
constexpr int64 kMostSteps = 8;
constexpr int64 kMostPixels = 1024;
constexpr int64 kPiece = 16;                        // bytes
constexpr int kLargestCorner[] = {32767, 127, 15};  // of im2col on 1, 2 and 3 spatial dimensions

[[noreturn]] void refuse(const std::string& came, const std::string& expected) {
  throw TensorMapError(came + "; expected " + expected);
}

void require_range(const std::string& what, int64 value, int64 low, int64 high) {
  if (value < low || value > high)
    refuse(what + " is " + std::to_string(value), std::to_string(low) + " to " + std::to_string(high));
}

std::string of_dimension(const char* what, int dimension) {
  return std::string(what) + " of dimension " + std::to_string(dimension);
}

int bytes_of(int element_type) {
  constexpr int kBytes[] = {4, 2, 2, 8, 1, 1, 4, 8};  // in the order of DataType
  if (element_type < 0 || element_type >= static_cast<int>(sizeof kBytes / sizeof *kBytes))
    refuse("the element type is " + std::to_string(element_type), "a DataType");
  return kBytes[element_type];
}

void check_tensor(const TensorMapRequest& r, std::uint64_t address) {
  if (r.kind != static_cast<int>(TensorMapKind::kTiled) && r.kind != static_cast<int>(TensorMapKind::kIm2col))
    refuse("the kind is " + std::to_string(r.kind), "tiled or im2col");
  const bool im2col = r.kind == static_cast<int>(TensorMapKind::kIm2col);
  require_range(im2col ? "the rank of an im2col map" : "the rank", r.rank, im2col ? 3 : 1, kTensorMapRank);
  if (address % kPiece != 0)
    refuse("the tensor begins " + std::to_string(address % kPiece) + " bytes past a multiple of 16",
           "a multiple of 16");
  for (int i = 0; i < r.rank; ++i) {
    require_range(of_dimension("the size", i), r.sizes[i], 1, int64{1} << 32);
    require_range(of_dimension("the element stride", i), r.element_strides[i], 1, kMostSteps);
  }
  for (int i = 1; i < r.rank; ++i) {
    const int64 stride = r.strides[i - 1];
    require_range(of_dimension("the stride", i), stride, 0, (int64{1} << 40) - 1);
    if (stride % kPiece != 0)
      refuse(of_dimension("the stride", i) + " is " + std::to_string(stride) + " bytes", "a multiple of 16");
  }
}

// The bytes of a row of the box: elements of dimension 0, channels of a pixel.
void check_row(const TensorMapRequest& r, const char* what, int64 bytes) {
  if (bytes % kPiece != 0) refuse(std::string(what) + std::to_string(bytes) + " bytes", "a multiple of 16");
  if (r.swizzle != 0 && r.swizzle != 32 && r.swizzle != 64 && r.swizzle != 128)
    refuse("the swizzle is " + std::to_string(r.swizzle) + " bytes", "0, 32, 64 or 128");
  if (r.swizzle != 0 && bytes > r.swizzle)
    refuse(std::string(what) + std::to_string(bytes) + " bytes under a swizzle of " + std::to_string(r.swizzle),
           "at most those");
  // The driver takes it, but no document says how such rows lie in shared memory.
  if (r.swizzle != 0 && bytes < r.swizzle)
    refuse(std::string(what) + std::to_string(bytes) + " bytes under a swizzle of " + std::to_string(r.swizzle),
           "all of those: how narrower rows lie is not documented, so the model has no answer");
}

void check_tiled(const TensorMapRequest& r, int element_bytes) {
  for (int i = 0; i < r.rank; ++i) require_range(of_dimension("the box", i), r.box[i], 1, kMostBox);
  check_row(r, "a row of the box has ", int64{r.box[0]} * element_bytes);
}

void check_im2col(const TensorMapRequest& r, int element_bytes) {
  const int spatial = r.rank - 2;
  const int largest = kLargestCorner[spatial - 1];
  for (int i = 0; i < spatial; ++i) {
    const std::string axis(1, "whd"[i]);
    require_range("the lower corner of " + axis, r.lower_corner[i], -largest - 1, largest);
    require_range("the upper corner of " + axis, r.upper_corner[i], -largest - 1, largest);
    const int64 extent = r.sizes[1 + i] + r.upper_corner[i] - r.lower_corner[i];
    if (extent < 1) refuse("the bounding box holds " + std::to_string(extent) + " pixels along " + axis, "at least 1");
  }
  require_range("the number of channels of a pixel", r.channels_per_pixel, 1, kMostBox);
  require_range("the number of pixels of a column", r.pixels_per_column, 1, kMostPixels);
  // No document says how a walk goes on that steps over images.
  if (r.element_strides[r.rank - 1] != 1)
    refuse("the element stride of the images is " + std::to_string(r.element_strides[r.rank - 1]), "1 for im2col");
  check_row(r, "the channels of a pixel have ", int64{r.channels_per_pixel} * element_bytes);
}

std::uint64_t check_of(const TensorMapImage& image) {
  TensorMapImage bare = image;
  bare.check = 0;
  std::uint64_t words[sizeof bare / sizeof(std::uint64_t)];
  std::memcpy(words, &bare, sizeof bare);
  std::uint64_t sum = kMagic;
  for (const std::uint64_t word : words) sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
  return sum;
}

}  // namespace

TensorMap encode_tensor_map(const TensorMapRequest& r, std::uint64_t address) {
  check_tensor(r, address);
  const int element_bytes = bytes_of(r.element_type);
  const bool im2col = r.kind == static_cast<int>(TensorMapKind::kIm2col);
  im2col ? check_im2col(r, element_bytes) : check_tiled(r, element_bytes);

  TensorMap map{};
  TensorMapImage image;
  std::memcpy(&image, &map, sizeof image);
  image.magic = kMagic;
  image.address = address;
  image.rank = static_cast<std::uint8_t>(r.rank);
  image.element_bytes = static_cast<std::uint8_t>(element_bytes);
  image.swizzle = static_cast<std::uint8_t>(r.swizzle);
  for (int i = 0; i < r.rank; ++i) {
    image.last[i] = static_cast<std::uint32_t>(r.sizes[i] - 1);
    image.step[i] = static_cast<std::uint8_t>(r.element_strides[i]);
    if (!im2col) image.box[i] = static_cast<std::uint16_t>(r.box[i]);
  }
  for (int i = 0; i + 1 < r.rank; ++i) {
    image.pitch[i] = static_cast<std::uint32_t>(r.strides[i] / kPiece);
    image.high_pitch[i] = static_cast<std::uint8_t>(r.strides[i] / kPiece >> 32);
  }
  if (im2col) {
    image.box[0] = static_cast<std::uint16_t>(r.channels_per_pixel);
    image.pixels = static_cast<std::uint16_t>(r.pixels_per_column);
    for (int i = 0; i < r.rank - 2; ++i) {
      image.corner[0][i] = static_cast<std::int16_t>(r.lower_corner[i]);
      image.corner[1][i] = static_cast<std::int16_t>(r.upper_corner[i]);
    }
  }
  image.check = check_of(image);
  std::memcpy(&map, &image, sizeof map);
  return map;
}

namespace sim {

unsigned TensorMapImage::rows() const {
  if (is_im2col()) return pixels;
  unsigned rows = 1;
  for (int i = 1; i < rank; ++i) rows *= static_cast<unsigned>(taken(i));
  return rows;
}

TensorMapImage require_tensor_map(const void* map, const char* what, Site site) {
  const char* slash = std::strrchr(site.file, '/');
  const char* file = slash == nullptr ? site.file : slash + 1;
  if (reinterpret_cast<std::uintptr_t>(map) % alignof(TensorMap) != 0)
    fail("%s at %s:%d: the tensor map at %p; expected a multiple of 64", what, file, site.line, map);
  if (shared_place(map).rank >= 0)
    fail("%s at %s:%d: the tensor map lies in shared memory; expected the kernel's parameters or global memory", what,
         file, site.line);
  TensorMapImage image;
  std::memcpy(&image, map, sizeof image);
  if (image.magic != kMagic || image.check != check_of(image))
    fail("%s at %s:%d: the 128 bytes at %p are no tensor map; expected one that the launch encoded", what, file,
         site.line, map);
  return image;
}

}  // namespace sim

}  // namespace atrous
