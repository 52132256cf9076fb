// Encodes tensor maps by the driver's own functions, found at run time so that the extension loads without a driver.
#include "tensor_maps.hpp"

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>

namespace atrous {

namespace {

static_assert(sizeof(TensorMap) == sizeof(CUtensorMap), "a TensorMap is the driver's CUtensorMap");

constexpr unsigned kFirstVersion = 12000;       // of CUDA, whose driver has both functions
constexpr int kLastQuirkyDriver = 13010;        // CUDA 13.1
constexpr std::uint64_t kQuirkBytes = 1 << 17;  // tensors smaller than this

template <class Function>
Function driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t status =
      cudaGetDriverEntryPointByVersion(name, &function, kFirstVersion, cudaEnableDefault, &found);
  if (status != cudaSuccess || found != cudaDriverEntryPointSuccess || function == nullptr) {
    cudaGetLastError();
    throw TensorMapError(std::string("the driver has no ") + name + " (" + cudaGetErrorName(status) +
                         "); expected a driver of CUDA 12.0 or newer");
  }
  return reinterpret_cast<Function>(function);
}

CUtensorMapDataType driver_type(int element_type) {
  switch (static_cast<DataType>(element_type)) {
    case DataType::kFloat32:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT32;
    case DataType::kFloat16:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    case DataType::kBfloat16:
      return CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    case DataType::kFloat64:
      return CU_TENSOR_MAP_DATA_TYPE_FLOAT64;
    case DataType::kInt8:
    case DataType::kUint8:
      return CU_TENSOR_MAP_DATA_TYPE_UINT8;
    case DataType::kInt32:
      return CU_TENSOR_MAP_DATA_TYPE_INT32;
    case DataType::kInt64:
      return CU_TENSOR_MAP_DATA_TYPE_INT64;
  }
  throw TensorMapError("the element type is " + std::to_string(element_type) + "; expected a DataType");
}

CUtensorMapSwizzle driver_swizzle(int bytes) {
  switch (bytes) {
    case 0:
      return CU_TENSOR_MAP_SWIZZLE_NONE;
    case 32:
      return CU_TENSOR_MAP_SWIZZLE_32B;
    case 64:
      return CU_TENSOR_MAP_SWIZZLE_64B;
    case 128:
      return CU_TENSOR_MAP_SWIZZLE_128B;
  }
  throw TensorMapError("the swizzle is " + std::to_string(bytes) + " bytes; expected 0, 32, 64 or 128");
}

std::uint64_t element_bytes(int element_type) {
  switch (static_cast<DataType>(element_type)) {
    case DataType::kInt8:
    case DataType::kUint8:
      return 1;
    case DataType::kFloat16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kFloat64:
    case DataType::kInt64:
      return 8;
    default:
      return 4;
  }
}

// From the first byte of the tensor to the last.
std::uint64_t spanned_bytes(const TensorMapRequest& request) {
  std::uint64_t last = (request.sizes[0] - 1) * element_bytes(request.element_type);
  for (int i = 1; i < request.rank; ++i)
    last += static_cast<std::uint64_t>(request.sizes[i] - 1) * request.strides[i - 1];
  return last + element_bytes(request.element_type);
}

// Drivers up to CUDA 13.1 set a bit in the maps of tensors below 128 KiB that makes copies fail; CUTLASS clears it
// where the driver is one of those, and so does this.
void mend_small_tensor(const TensorMapRequest& request, TensorMap& map) {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver > kLastQuirkyDriver) return;
  if (spanned_bytes(request) < kQuirkBytes) map.words[1] &= ~(1ull << 21);
}

}  // namespace

TensorMap encode_tensor_map(const TensorMapRequest& request, std::uint64_t address) {
  using EncodeTiled = decltype(&cuTensorMapEncodeTiled);
  using EncodeIm2col = decltype(&cuTensorMapEncodeIm2col);
  static const EncodeTiled encode_tiled = driver_function<EncodeTiled>("cuTensorMapEncodeTiled");
  static const EncodeIm2col encode_im2col = driver_function<EncodeIm2col>("cuTensorMapEncodeIm2col");

  CUtensorMap target{};  // more strictly aligned than the 64 bytes that a map needs
  auto* tensor = reinterpret_cast<void*>(address);
  const CUtensorMapDataType type = driver_type(request.element_type);
  const CUtensorMapSwizzle swizzle = driver_swizzle(request.swizzle);
  const auto rank = static_cast<cuuint32_t>(request.rank);
  cuuint64_t sizes[kTensorMapRank], strides[kTensorMapRank - 1];
  cuuint32_t box[kTensorMapRank], steps[kTensorMapRank];
  std::copy_n(request.sizes, kTensorMapRank, sizes);
  std::copy_n(request.strides, kTensorMapRank - 1, strides);
  std::copy_n(request.box, kTensorMapRank, box);
  std::copy_n(request.element_strides, kTensorMapRank, steps);
  // The manual lists the corners as {D, H, W}; CUTLASS passes the one of w first, beside dimension 1, and so does this.
  const CUresult status =
      request.kind == static_cast<int>(TensorMapKind::kIm2col)
          ? encode_im2col(&target, type, rank, tensor, sizes, strides, request.lower_corner, request.upper_corner,
                          static_cast<cuuint32_t>(request.channels_per_pixel),
                          static_cast<cuuint32_t>(request.pixels_per_column), steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                          swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
          : encode_tiled(&target, type, rank, tensor, sizes, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                         swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (status != CUDA_SUCCESS)
    throw TensorMapError("the driver refused it with error " + std::to_string(static_cast<int>(status)) +
                         "; expected success: the simulated engine names what is wrong with a map");
  TensorMap map;
  std::memcpy(&map, &target, sizeof map);
  mend_small_tensor(request, map);
  return map;
}

}  // namespace atrous
