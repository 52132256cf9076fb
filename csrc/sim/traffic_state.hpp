// The counting of one operating-system thread, for the compiler's hooks.
#pragma once

#include "traffic_count.hpp"

namespace atrous::sim::traffic {

// Null while nothing is counted.
extern __thread Counter* counting __attribute__((tls_model("initial-exec")));

// While something is: as `access`.
void count_access(const void* pointer, std::size_t bytes, bool is_write, const void* from);

}  // namespace atrous::sim::traffic
