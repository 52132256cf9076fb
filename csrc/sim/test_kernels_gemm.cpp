// A matrix product in stages with one step of its pipeline wrong, for each of the mistakes that such kernels see.
#include "atrous/probes/gemm_sm80.cuh"
#include "test_kernels.hpp"

namespace atrous {

namespace {

// A swizzle that the writer does not have.
struct WronglySwizzledRows : SwizzledRows {
  static int read_piece(int row, int depth) { return kPitch * row + (depth ^ (row % 4)); }
};

struct TooFewWaited {
  template <class Start>
  static void begin_step(const Start& start_next) {
    prims::wait_copies<kGemmStages - 1>();
    prims::sync_block();
    start_next();
  }
};

struct NoBarrier {
  template <class Start>
  static void begin_step(const Start& start_next) {
    prims::wait_copies<kGemmStages - 2>();
    start_next();
  }
};

// Each warp waits for itself alone.
struct WarpBarrier {
  template <class Start>
  static void begin_step(const Start& start_next) {
    prims::wait_copies<kGemmStages - 2>();
    prims::sync_warp();
    start_next();
  }
};

// Past the barrier a thread waits for its own copies; those of the others may still be under way.
struct BarrierFirst {
  template <class Start>
  static void begin_step(const Start& start_next) {
    prims::sync_block();
    prims::wait_copies<kGemmStages - 2>();
    start_next();
  }
};

// The next copies overwrite a stage that a warp may still be multiplying.
struct CopiesFirst {
  template <class Start>
  static void begin_step(const Start& start_next) {
    start_next();
    prims::wait_copies<kGemmStages - 1>();
    prims::sync_block();
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
      ATROUS_KERNEL(probe_gemm_sm80<float16, SwizzledRows, CopiesFirst>),
  };
  entries.insert(entries.end(), std::begin(own), std::end(own));
}

}  // namespace atrous
