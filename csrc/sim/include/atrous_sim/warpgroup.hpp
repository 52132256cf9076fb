// The model of named barriers and of setmaxnreg: what the primitives of prims/warpgroup.cuh call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

void sync_named(int id, int threads, Site site);
void arrive_named(int id, int threads, Site site);
void give_registers(int count, Site site);
void take_registers(int count, Site site);

}  // namespace atrous::sim
