// The matrix product of probes/gemm_sm90.cuh with one mistake in it each, which the simulator must find.
#include "atrous/probes/gemm_sm90.cuh"
#include "sim/test_kernels.hpp"

namespace atrous {

namespace {

using gemm_sm90::Correct;

struct NoWaitForEmpty : Correct {
  static constexpr bool kWaitsForEmpty = false;
};
struct NoWaitForFull : Correct {
  static constexpr bool kWaitsForFull = false;
};
struct EarlyRelease : Correct {
  static constexpr bool kReleasesEarly = true;
};
struct NoOutputFence : Correct {
  static constexpr bool kFencesOutput = false;
};
struct NoOutputWait : Correct {
  static constexpr bool kWaitsForOutput = false;
};
struct MissingBytes : Correct {
  static constexpr int kMissingBytes = 16;
};
struct NoSumsFence : Correct {
  static constexpr bool kFencesSums = false;
};
struct NoSumsWait : Correct {
  static constexpr bool kWaitsForSums = false;
};
// The 16 elements of a step where its 32 bytes belong.
struct StepOfElements : Correct {
  static constexpr int kStepBytes = 16;
};
struct WrongStride : Correct {
  static constexpr int kStrideBytes = 512;
};
// The maps swizzle rows of 128 bytes.
struct WrongSwizzle : Correct {
  static constexpr prims::MatrixSwizzle kSwizzle = prims::MatrixSwizzle::k64Bytes;
};

template <class Rules>
__global__ void test_gemm_sm90(const __grid_constant__ GemmSm90Arguments arguments) {
  gemm_sm90::multiply<bfloat16, Rules>(arguments);
}

}  // namespace

void add_test_kernels_gemm_sm90(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(test_gemm_sm90<NoWaitForEmpty>), ATROUS_KERNEL(test_gemm_sm90<NoWaitForFull>),
      ATROUS_KERNEL(test_gemm_sm90<EarlyRelease>),   ATROUS_KERNEL(test_gemm_sm90<NoOutputFence>),
      ATROUS_KERNEL(test_gemm_sm90<NoOutputWait>),   ATROUS_KERNEL(test_gemm_sm90<MissingBytes>),
      ATROUS_KERNEL(test_gemm_sm90<NoSumsFence>),    ATROUS_KERNEL(test_gemm_sm90<NoSumsWait>),
      ATROUS_KERNEL(test_gemm_sm90<StepOfElements>), ATROUS_KERNEL(test_gemm_sm90<WrongStride>),
      ATROUS_KERNEL(test_gemm_sm90<WrongSwizzle>),   ATROUS_KERNEL(test_gemm_sm90<Correct>),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
