// The windows of the depthwise kernels: the usual sizes, known when a kernel is compiled, and any other.
#pragma once

namespace atrous {

// R and S, the stride of a phase, the most threads of a block, and how many blocks share the registers of a
// multiprocessor: 128, 168 or 255 a thread hold the sums of the outputs of all ages, and the cells of one row. The
// weights are not among them: each is read again for every row.
template <int kSize, int kBy, int kOfOne>
struct SquareWindow {
  static constexpr int kR = kSize, kS = kSize, kStride = kBy, kThreads = 128, kBlocks = kOfOne;
  static constexpr int kAhead = kStride == 1 ? 3 : 2;         // chunks under way
  static constexpr int kAges = (kR + kStride - 1) / kStride;  // outputs that hold one row
};
using Window3 = SquareWindow<3, 1, 3>;
using Window3Stride2 = SquareWindow<3, 2, 4>;
using Window5 = SquareWindow<5, 1, 2>;
using Window5Stride2 = SquareWindow<5, 2, 3>;
using Window7 = SquareWindow<7, 1, 2>;
struct AnyWindow {
  static constexpr int kThreads = 256, kBlocks = 2, kAhead = 2;
};

}  // namespace atrous
