// The model of ldmatrix and stmatrix: what the primitives of prims/matrix.cuh call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

// registers: [count]
void load_matrix(unsigned* registers, const void* row, int count, bool is_transposed, Site site);
void store_matrix(void* row, const unsigned* registers, int count, bool is_transposed, Site site);

}  // namespace atrous::sim
