// The model of cp.async: what the primitives of prims/async_copy.cuh call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

void copy_async(void* shared, const void* global, int bytes, int valid_bytes, Site site);
void commit_copies();
void wait_copies(int pending);
void arrive_after_copies(void* barrier, Site site);

}  // namespace atrous::sim
