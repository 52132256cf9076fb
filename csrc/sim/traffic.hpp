// What launches move: bytes and sectors of global memory, bank conflicts of shared memory; counted in the race build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "atrous_sim/primitives.hpp"
#include "tensor_rows.hpp"

namespace atrous::sim::traffic {

struct Range {
  const void* low;
  std::size_t bytes;
};

// A sector is 32 bytes at a multiple of 32. Each instruction of a warp asks once for each sector that it touches.
struct Sums {
  std::uint64_t read_bytes = 0, read_sectors = 0;
  std::uint64_t write_bytes = 0, write_sectors = 0;
  std::uint64_t shared_instructions = 0, shared_conflicts = 0;
};

// Of one place in the code: the offset in the extension of the instruction behind a call of a hook, or a site.
struct PlaceReport {
  std::size_t offset;
  Site site;  // of a bulk copy; else its file is ""
  Sums sums;
};

struct Report {
  std::uint64_t launches = 0;
  Sums all;
  std::uint64_t read_footprint = 0, write_footprint = 0;  // different sectors
  std::vector<PlaceReport> places;
};

#ifdef ATROUS_SIM_RACE

// From here on the launches of this operating-system thread are counted; what was counted before is dropped.
void start();
// Until here; empty without a start.
Report stop();

// From the machine. `hidden`: what kernels read and a device holds elsewhere than in global memory.
void begin_launch(std::initializer_list<Range> hidden);
void begin_cluster(int blocks, int threads_of_block);
void end_cluster();
void meet_block(int rank);
void meet_warp(int thread);

// An access by the running thread; `from`: the instruction behind it in the kernels' text.
void access(const void* pointer, std::size_t bytes, bool is_write, const void* from);
// ldmatrix and stmatrix: rows of 16 bytes of shared memory that the first `count` lanes name.
void access_rows(const unsigned char* const* rows, int count, bool is_write, const void* from);
// A copy of the copy engine, whose rows of global memory are one request.
void copy_bulk(const std::vector<TensorRow>& rows, bool is_write, Site site);

#else

inline void start() {}
inline Report stop() { return {}; }
inline void begin_launch(std::initializer_list<Range>) {}
inline void begin_cluster(int, int) {}
inline void end_cluster() {}
inline void meet_block(int) {}
inline void meet_warp(int) {}
inline void access(const void*, std::size_t, bool, const void*) {}
inline void access_rows(const unsigned char* const*, int, bool, const void*) {}
inline void copy_bulk(const std::vector<TensorRow>&, bool, Site) {}

#endif

}  // namespace atrous::sim::traffic
