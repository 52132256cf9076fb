// The model of clusters: what the primitives of prims/cluster.cuh call.
#pragma once

#include "atrous_sim/primitives.hpp"

namespace atrous::sim {

int block_rank();
int cluster_blocks();
void arrive_cluster(Site site);
void wait_cluster(Site site);

// The same place in the window of another block of the cluster.
void* map_shared(const void* pointer, int rank, Site site);

}  // namespace atrous::sim
