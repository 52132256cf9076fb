// Kernels that write a matrix of sums: by way of a warp's mma registers, and one output a thread.
#include "atrous/geometry.hpp"
#include "atrous/warp_output.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

constexpr int kOutputWarps = 2;

template <int M, int N, class Sum>
struct OutputShared {
  alignas(16) Sum stage[kOutputWarps][kWarpStageElements<M, N>];
  OutputPlace place[kOutputWarps][16 * M];
};

__device__ __forceinline__ OutputPlace output_place(const ConvArguments& a, int64 pixel) {
  const int64 q = pixel % a.q, p = pixel / a.q % a.p, n = pixel / a.q / a.p;
  const auto offset = [&](const int64(&stride)[4]) { return n * stride[0] + p * stride[1] + q * stride[2]; };
  return {offset(a.y_stride), offset(a.residual_stride)};
}

// x: [N * P * Q, K] sums. A warp owns 16 * M pixels times 8 * N columns of one group.
template <int M, int N, class Sum>
__global__ void test_warp_output(const __grid_constant__ ConvArguments a) {
  OutputShared<M, N, Sum>& shared = prims::shared<OutputShared<M, N, Sum>>();
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = prims::lane_id();
  const int columns = a.k / a.groups, tiles = ceil_divide(columns, 8 * N);
  const int tile = static_cast<int>(blockIdx.x) % (tiles * a.groups);
  const int64 pixels = static_cast<int64>(a.n) * a.p * a.q;
  const int64 first_pixel = (blockIdx.x / (tiles * a.groups) * kOutputWarps + warp) * 16 * M;
  const int left = static_cast<int>(max(0LL, min(16LL * M, pixels - first_pixel)));
  const int first_column = tile / tiles * columns + tile % tiles * 8 * N, column_end = (tile / tiles + 1) * columns;
  for (int row = lane; row < left; row += 32) shared.place[warp][row] = output_place(a, first_pixel + row);
  Sum sum[M][N][4];
  for (int i = 0; i < M; ++i) {
    for (int j = 0; j < N; ++j) {
      for (int e = 0; e < 4; ++e) {
        const int row = 16 * i + lane / 4 + e / 2 * 8, column = first_column + 8 * j + lane % 4 * 2 + e % 2;
        const bool used = row < left && column < column_end;
        sum[i][j][e] = used ? static_cast<const Sum*>(a.x)[(first_pixel + row) * a.k + column] : Sum(0);
      }
    }
  }
  prims::sync_block();
  write_warp_sums<M, N>(a, sum, shared.stage[warp], shared.place[warp], left, first_column, column_end);
}

// x: [N * P * Q, K] sums
template <class Sum>
__global__ void test_output(const __grid_constant__ ConvArguments a) {
  const int64 element = static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (element >= static_cast<int64>(a.n) * a.p * a.q * a.k) return;
  const int k = static_cast<int>(element % a.k);
  const OutputPlace place = output_place(a, element / a.k);
  finish_output(a, static_cast<const Sum*>(a.x)[element], k, place.y + k * a.y_stride[3],
                place.residual + k * a.residual_stride[3]);
}

}  // namespace

void add_test_kernels_output(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_warp_output<4, 4, float32>),
      ATROUS_KERNEL(test_warp_output<4, 2, float32>),
      ATROUS_KERNEL(test_warp_output<2, 4, float32>),
      ATROUS_KERNEL(test_warp_output<2, 2, float32>),
      ATROUS_KERNEL(test_warp_output<4, 4, int32>),
      ATROUS_KERNEL(test_warp_output<4, 2, int32>),
      ATROUS_KERNEL(test_warp_output<2, 4, int32>),
      ATROUS_KERNEL(test_warp_output<2, 2, int32>),
      ATROUS_KERNEL(test_output<float32>),
      ATROUS_KERNEL(test_output<int32>),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
