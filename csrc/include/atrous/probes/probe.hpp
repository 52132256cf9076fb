// The argument struct of the probes: small kernels that show one primitive, or one pipeline of them, at work.
#pragma once

#include "atrous/problem.hpp"

namespace atrous {

// A probe's name begins with probe_, so that no description of a kernel asks for it; what x, w, count and size stand
// for is said at the head of each probe. One that takes more (a tensor map) has a struct that begins with this one.
struct ProbeArguments {
  const void* x;
  const void* w;
  void* y;
  int64 count;
  int size[8];
};

}  // namespace atrous
