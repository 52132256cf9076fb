// A matrix product in stages with one step of its pipeline wrong, for each of the mistakes that such kernels see.
#include "atrous/probes/gemm_sm80.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

// A swizzle that the writer does not have.
struct WronglySwizzledRows : SwizzledRows {
  static int read_piece(int row, int depth) { return kPitch * row + (depth ^ (row % 4)); }
};

struct TooFewWaited : GemmOrder {
  static constexpr int kPending = kGemmStages - 1;
};

struct NoBarrier : GemmOrder {
  static void sync() {}
};

// The lanes of a warp stay together, and so do the loads and products within it: what fails is the hand-over between
// warps.
struct WarpBarrier : GemmOrder {
  static void sync() { prims::sync_warp(); }
};

// The barrier before the wait: a thread sees its own copies, and those of others perhaps.
struct BarrierFirst : GemmOrder {
  static constexpr int kPending = kGemmStages - 1;
  static void sync() {
    prims::sync_block();
    prims::wait_copies<kGemmStages - 2>();
  }
};

}  // namespace

void add_test_kernels_gemm(std::vector<KernelEntry>& entries) {
  const KernelEntry own[] = {
      ATROUS_KERNEL(probe_gemm_sm80<float16, WronglySwizzledRows>),
      ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows, TooFewWaited>),
      ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows, NoBarrier>),
      ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows, WarpBarrier>),
      ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows, BarrierFirst>),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
