// The model of mma.sync: what the primitives of prims/mma.cuh call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

void mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site);
void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site);
void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site);
void mma_s8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site);
void mma_u8(int (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], Site site);

float round_tf32(float value);

}  // namespace atrous::sim
