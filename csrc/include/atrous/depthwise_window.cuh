// The windows of the depthwise kernels: the usual sizes, known when a kernel is compiled, and any other.
#pragma once

namespace atrous {

// R and S, the stride of a phase, and the most threads of a block: two blocks share the registers of a multiprocessor,
// 144 a thread for the sums and filters of the small windows, 255 for those of the large ones.
template <int kSize, int kBy, int kMostThreads>
struct SquareWindow {
  static constexpr int kR = kSize, kS = kSize, kStride = kBy, kThreads = kMostThreads;
  static constexpr int kAhead = kStride == 1 ? 3 : 2;         // chunks under way
  static constexpr int kAges = (kR + kStride - 1) / kStride;  // outputs that hold one row
};
using Window3 = SquareWindow<3, 1, 224>;
using Window3Stride2 = SquareWindow<3, 2, 224>;
using Window5 = SquareWindow<5, 1, 128>;
using Window5Stride2 = SquareWindow<5, 2, 128>;
using Window7 = SquareWindow<7, 1, 128>;
struct AnyWindow {
  static constexpr int kThreads = 224, kAhead = 2;
};

}  // namespace atrous
