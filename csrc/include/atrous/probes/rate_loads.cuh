// Probes of the rate of the copy engine: tiles that stream through a ring of shared memory, which nobody computes on.
#pragma once

#include "atrous/prims/cluster.cuh"
#include "atrous/prims/warp.cuh"
#include "atrous/probes/rate.cuh"
#include "atrous/probes/tensor_tile.cuh"

namespace atrous {

namespace stream {

constexpr int kMostSlots = 32;

// Of ProbeArguments::size; size[kCycles] as in rate.cuh.
constexpr int kTilesOfBlock = 0;
constexpr int kSlots = 1;      // of the ring, at most kMostSlots and at most the stages of a block
constexpr int kTiles = 2;      // of the tensor; the blocks take turns, and begin again at its end
constexpr int kHeight = 3;     // im2col: of the image
constexpr int kWidth = 4;      // the same
constexpr int kLoadBytes = 5;  // im2col: of one tap's pixels

struct Ring {
  prims::Barrier full[kMostSlots];   // 1 arrival and the bytes of a stage
  prims::Barrier empty[kMostSlots];  // 1 arrival of each block that reads what this one loads
};

// Where a side of the ring stands: the slot, and the parity of the round.
struct Turn {
  int slot = 0;
  int parity = 0;

  __device__ __forceinline__ void advance(int slots) {
    if (++slot < slots) return;
    slot = 0;
    parity ^= 1;
  }
};

// What depends on who reads: this block alone.
struct Alone {
  static constexpr int kReaders = 1;
  static __device__ __forceinline__ void sync_readers() {}
  static __device__ __forceinline__ void wait_empty(prims::Barrier* empty, int parity) { prims::wait(empty, parity); }
  static __device__ __forceinline__ void release(prims::Barrier* empty) { prims::arrive(empty); }
};

// The same for both blocks of a cluster: a slot is free when it is free in both.
struct InPairs {
  static constexpr int kReaders = 2;
  static __device__ __forceinline__ void sync_readers() { prims::sync_cluster(); }
  static __device__ __forceinline__ void wait_empty(prims::Barrier* empty, int parity) {
    prims::wait_remote(empty, parity);
  }
  static __device__ __forceinline__ void release(prims::Barrier* empty) {
    for (int rank = 0; rank < kReaders; ++rank) prims::arrive_remote_after_reads(empty, rank);
  }
};

// Tile t is the 128 output pixels from 128 t on of a 3x3 convolution with padding 1; a stage is a row of taps.
struct Im2col : Alone {
  static constexpr int kStages = 3;
  struct Place {
    int w, h, n;
  };
  static __device__ __forceinline__ int stage_bytes(const ProbeArguments& a) { return 3 * a.size[kLoadBytes]; }
  static __device__ __forceinline__ Place place(const ProbeArguments& a, int i) {
    const int pixel = static_cast<int>(blockIdx.x + gridDim.x * i) % a.size[kTiles] * 128;
    const int row = pixel / a.size[kWidth];
    return {pixel % a.size[kWidth] - 1, row % a.size[kHeight] - 1, row / a.size[kHeight]};
  }
  static __device__ __forceinline__ void load(const TensorCopyArguments& a, Place at, int stage, unsigned char* slot,
                                              prims::Barrier* full) {
    const int bytes = a.probe.size[kLoadBytes];
    prims::arrive_expect(full, 3 * bytes);
    for (int tap = 0; tap < 3; ++tap)
      prims::load_im2col(slot + tap * bytes, &a.map, full, 0, at.w, at.h, at.n, tap, stage);
  }
};

// Tile t is the rows of 128 bytes from 128 t on, the same for both blocks of a pair, in two boxes of 64 rows.
template <bool kMulticast, class Readers>
struct Tiles : Readers {
  static constexpr int kStages = 1;
  using Place = int;
  static __device__ __forceinline__ int stage_bytes(const ProbeArguments&) { return 128 * 128; }
  static __device__ __forceinline__ Place place(const ProbeArguments& a, int i) {
    return static_cast<int>(blockIdx.x / 2 + gridDim.x / 2 * i) % a.size[kTiles] * 128;
  }
  static __device__ __forceinline__ void load(const TensorCopyArguments& a, Place row, int, unsigned char* slot,
                                              prims::Barrier* full) {
    prims::arrive_expect(full, 128 * 128);
    if constexpr (kMulticast) {
      const int half = prims::cluster_rank() * 64;
      prims::load_tile_multicast(slot + half * 128, &a.map, full, 0, row + half, 0b11);
    } else {
      for (int half = 0; half < 128; half += 64) prims::load_tile(slot + half * 128, &a.map, full, 0, row + half);
    }
  }
};

// By one thread.
template <class Source>
__device__ __forceinline__ void produce(const TensorCopyArguments& a, Ring& ring, unsigned char* slots) {
  Turn turn;
  for (int i = 0; i < a.probe.size[kTilesOfBlock]; ++i) {
    const typename Source::Place place = Source::place(a.probe, i);
#pragma unroll
    for (int stage = 0; stage < Source::kStages; ++stage) {
      // The phase before the first counts as complete.
      Source::wait_empty(&ring.empty[turn.slot], turn.parity ^ 1);
      Source::load(a, place, stage, slots + turn.slot * Source::stage_bytes(a.probe), &ring.full[turn.slot]);
      turn.advance(a.probe.size[kSlots]);
    }
  }
}

// By one thread.
template <class Source>
__device__ __forceinline__ void consume(const ProbeArguments& a, Ring& ring) {
  Turn turn;
  for (int stage = 0; stage < a.size[kTilesOfBlock] * Source::kStages; ++stage) {
    prims::wait(&ring.full[turn.slot], turn.parity);
    Source::release(&ring.empty[turn.slot]);
    turn.advance(a.size[kSlots]);
  }
}

template <class Source>
__device__ __forceinline__ void run(const TensorCopyArguments& a) {
  Ring& ring = prims::shared<Ring>();
  unsigned char* slots = tile_at(0);
  const int count = a.probe.size[kSlots];
  if (threadIdx.x == 0) {
    for (int i = 0; i < count; ++i) {
      prims::init_barrier(&ring.full[i], 1);
      prims::init_barrier(&ring.empty[i], Source::kReaders);
    }
    prims::fence_barrier_init();
  }
  prims::sync_block();
  Source::sync_readers();
  const int64 since = prims::clock_cycles();
  if (threadIdx.x == 0) produce<Source>(a, ring, slots);
  if (threadIdx.x == 32) {
    consume<Source>(a.probe, ring);
    show_cycles(a.probe, gridDim.x * a.probe.count, since);
  }
  prims::sync_warp();
  // Every thread that reads a slot has waited for its last load itself.
  const int stages = a.probe.size[kTilesOfBlock] * Source::kStages;
  for (int i = 0; i < count; ++i) prims::wait(&ring.full[i], (stages - 1 - i) / count % 2);
  show_tile(a.probe, slots, blockIdx.x * a.probe.count);
  Source::sync_readers();  // a block stays until what it has loaded for the other has landed there
}

}  // namespace stream

// Computes y: [grid, count] uint8 = what the slots hold in the end of x: [N, H, W, C] bfloat16. Layout: a slot is three
// taps of 128 pixels, swizzled by rows of C elements. Mapping: block b takes the tiles b, b + grid ...; lane 0 of warp
// 0 produces, lane 0 of warp 1 consumes. Shared: size[kSlots] slots, and 1024 for the boundary. Requires 64 threads and
// C of 16, 32 or 64. Cost: 9 * 128 * 2 C bytes a tile into shared memory.
__global__ void __launch_bounds__(64) probe_stream_im2col(const __grid_constant__ TensorCopyArguments a) {
  stream::run<stream::Im2col>(a);
}

// Computes the same of x: [rows, 64] bfloat16. Layout: a slot is 128 rows, swizzled. Mapping: the blocks 2 i and 2 i +
// 1 both take the tiles i, i + grid / 2 ... Requires 64 threads and an even grid. Cost: 16 KiB a tile.
__global__ void __launch_bounds__(64) probe_stream_tiles(const __grid_constant__ TensorCopyArguments a) {
  stream::run<stream::Tiles<false, stream::Alone>>(a);
}

// The same in clusters of two blocks, each of which loads half of every tile for both.
__global__ void __launch_bounds__(64) probe_stream_multicast(const __grid_constant__ TensorCopyArguments a) {
  stream::run<stream::Tiles<true, stream::InPairs>>(a);
}

}  // namespace atrous
