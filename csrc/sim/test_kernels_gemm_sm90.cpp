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
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
