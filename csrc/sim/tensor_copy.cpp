// The model of the copy engine's loads and stores of boxes: swizzles, bytes that report to barriers, groups of stores.
#include "atrous_sim/tensor_copy.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "atrous_sim/mbarrier.hpp"
#include "bulk_groups.hpp"
#include "race.hpp"
#include "services.hpp"
#include "tensor_map.hpp"
#include "tensor_rows.hpp"
#include "traffic.hpp"

namespace atrous::sim {

namespace {

constexpr unsigned kPiece = 16;               // bytes that a swizzle moves as one
constexpr unsigned kTileAlignment = 128;      // of a box in shared memory (PTX ISA, cp.async.bulk.tensor)
constexpr unsigned kBulkAlignment = 16;       // of everything about a plain run of bytes
constexpr unsigned kMostBulkBytes = 1 << 20;  // a run counts into a barrier, which counts to 2^20 - 1

std::string place_of(Site site) {
  const std::string path = site.file;
  return path.substr(path.find_last_of('/') + 1) + ":" + std::to_string(site.line);
}

// A swizzle over 32, 64 or 128 bytes exchanges 16-byte pieces: it adds 1, 2 or 3 address bits from 7 up to those from 4
// up, modulo 2 (CUTLASS: Swizzle<1, 4, 3> to Swizzle<3, 4, 3>). The bits are those of the shared address itself.
unsigned swizzled(unsigned offset, unsigned span) {
  const unsigned mask = span == 0 ? 0 : span - kPiece;
  return offset ^ (offset >> 3 & mask);
}

// What a load has in hand: rows of the source on their way to a place that is the same in each destination block.
struct Load {
  const char* what;
  Site site;
  std::vector<TensorRow> rows;
  unsigned row_bytes;
  unsigned swizzle;
  unsigned offset;          // of the destination in a block's shared memory
  unsigned barrier_offset;  // of the mbarrier
  unsigned blocks;          // a bit a destination block
};

using SharedLoad = std::shared_ptr<const Load>;

// The rows [begin, end) of a load, one asynchronous operation.
struct Part {
  SharedLoad load;
  std::size_t begin, end;
  race::Agent agent;
  std::vector<unsigned char> bytes;

  void read() {
    bytes.assign((end - begin) * load->row_bytes, 0);
    for (std::size_t i = begin; i < end; ++i) {
      const TensorRow& row = load->rows[i];
      if (row.bytes == 0) continue;
      const auto* source = reinterpret_cast<const unsigned char*>(row.address);
      race::read(agent, source, row.bytes, load->site);
      std::memcpy(bytes.data() + (i - begin) * load->row_bytes + row.first, source, row.bytes);
    }
  }

  void write() {
    const auto first = static_cast<unsigned>(begin * load->row_bytes);
    for (int rank = 0; load->blocks >> rank != 0; ++rank) {
      if ((load->blocks >> rank & 1u) == 0) continue;
      for (unsigned i = 0; i < bytes.size(); i += kPiece) {
        unsigned char* target = shared_at(rank, swizzled(load->offset + first + i, load->swizzle));
        race::write(agent, target, kPiece, load->site);
        std::memcpy(target, bytes.data() + i, kPiece);
      }
      complete_transaction(shared_at(rank, load->barrier_offset), static_cast<int>(bytes.size()), agent, load->site);
    }
    race::end(agent);
  }
};

// The engine may deliver a box bit by bit, each with its own bytes on the barrier: here in two halves.
void issue_load(const SharedLoad& load) {
  const std::size_t count = load->rows.size();
  const std::size_t ends[] = {count - count / 2, count};
  std::size_t begin = 0;
  const race::Agent self = race::self();
  std::vector<std::shared_ptr<Part>> parts;
  for (const std::size_t end : ends) {
    if (begin != end) parts.push_back(std::make_shared<Part>(Part{load, begin, end, race::fork(self, true), {}}));
    begin = end;
  }
  for (const auto& part : parts) {
    issue({load->what, load->site, [part] { part->read(); }, [part] { part->write(); }, 0, load->blocks});
  }
}

// The blocks that a mask names, or the one of the destination.
unsigned destination_blocks(const char* what, SharedPlace destination, int mask, Site site) {
  if (mask == kNoMulticast) return 1u << destination.rank;
  const unsigned all = (1u << cluster_blocks()) - 1;
  const auto blocks = static_cast<unsigned>(mask);
  if (blocks == 0 || (blocks & ~all) != 0)
    fail("%s at %s: the mask of blocks is 0x%x; expected some of 0x%x, the cluster's %d blocks", what,
         place_of(site).c_str(), blocks, all, cluster_blocks());
  if (destination.rank != block_rank())
    fail(
        "%s at %s: the destination belongs to block %d of the cluster; expected the issuing block %d, the others get "
        "the same place",
        what, place_of(site).c_str(), destination.rank, block_rank());
  return blocks;
}

// Checks where a load goes, and issues it.
void load_rows(Load load, void* destination, unsigned alignment, void* barrier, int mask) {
  const char* what = load.what;
  const Site site = load.site;
  const auto bytes = static_cast<unsigned>(load.rows.size()) * load.row_bytes;
  const SharedPlace place = require_shared(destination, bytes, what);
  if (place.offset % alignment != 0)
    fail("%s at %s: the destination is shared offset 0x%x; expected a multiple of %u", what, place_of(site).c_str(),
         place.offset, alignment);
  const SharedPlace barrier_place = require_shared(barrier, 8, what);
  if (barrier_place.rank != place.rank)
    fail("%s at %s: the mbarrier belongs to block %d of the cluster and the destination to block %d; expected one",
         what, place_of(site).c_str(), barrier_place.rank, place.rank);
  load.offset = place.offset;
  load.barrier_offset = barrier_place.offset;
  load.blocks = destination_blocks(what, place, mask, site);
  for (int rank = 0; load.blocks >> rank != 0; ++rank) {
    if ((load.blocks >> rank & 1u) == 0) continue;
    require_shared(shared_at(rank, place.offset), bytes, what);
    require_barrier(shared_at(rank, barrier_place.offset), what, site);
  }
  traffic::copy_bulk(load.rows, false, site);
  issue_load(std::make_shared<const Load>(std::move(load)));
}

void require_form(const TensorMapImage& map, const char* what, int rank, bool is_im2col, Site site) {
  if (map.rank != rank)
    fail("%s at %s: %d coordinates for a tensor map of rank %d", what, place_of(site).c_str(), rank, map.rank);
  if (map.is_im2col() != is_im2col)
    fail("%s at %s: the tensor map is %s; expected %s", what, place_of(site).c_str(),
         map.is_im2col() ? "im2col" : "tiled", is_im2col ? "im2col" : "tiled");
}

// No document says where a walk goes that starts outside its bounding box or between its steps.
void require_walk(const TensorMapImage& map, const char* what, const int* coordinates, const int* offsets, Site site) {
  constexpr int kLargestOffset[] = {65535, 255, 31};  // on 1, 2 and 3 spatial dimensions (PTX ISA, im2col mode)
  const int spatial = map.rank - 2;
  for (int i = 0; i < spatial; ++i) {
    const char axis = "whd"[i];
    const std::int64_t low = map.corner[0][i], high = map.size(1 + i) - 1 + map.corner[1][i];
    const int start = coordinates[1 + i];
    if (start < low || start > high || (start - low) % map.step[1 + i] != 0)
      fail("%s at %s: the walk starts at %c = %d; expected a step of %d inside the bounding box, %lld to %lld", what,
           place_of(site).c_str(), axis, start, map.step[1 + i], static_cast<long long>(low),
           static_cast<long long>(high));
    if (offsets[i] < 0 || offsets[i] > kLargestOffset[spatial - 1])
      fail("%s at %s: the offset of %c is %d; expected 0 to %d", what, place_of(site).c_str(), axis, offsets[i],
           kLargestOffset[spatial - 1]);
  }
}

// What a store has in hand.
struct Store {
  const char* what;
  Site site;
  std::vector<TensorRow> rows;
  unsigned row_bytes;
  unsigned swizzle;
  SharedPlace source;
  race::Agent reader, writer;  // of shared memory, of global memory: a thread may wait for either
  std::vector<unsigned char> bytes;

  void read() {
    bytes.resize(rows.size() * row_bytes);
    for (unsigned i = 0; i < bytes.size(); i += kPiece) {
      const unsigned char* piece = shared_at(source.rank, swizzled(source.offset + i, swizzle));
      race::read(reader, piece, kPiece, site);
      std::memcpy(bytes.data() + i, piece, kPiece);
    }
  }

  void write() {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const TensorRow& row = rows[i];
      if (row.bytes == 0) continue;
      auto* target = reinterpret_cast<unsigned char*>(row.address);
      race::write(writer, target, row.bytes, site);
      std::memcpy(target, bytes.data() + i * row_bytes + row.first, row.bytes);
    }
  }
};

void store_rows(Store store, const void* source, unsigned alignment) {
  const char* what = store.what;
  const SharedPlace place = require_shared(source, store.rows.size() * store.row_bytes, what);
  if (place.offset % alignment != 0)
    fail("%s at %s: the source is shared offset 0x%x; expected a multiple of %u", what, place_of(store.site).c_str(),
         place.offset, alignment);
  if (place.rank != block_rank())
    fail("%s at %s: the source belongs to block %d of the cluster; expected the issuing block %d", what,
         place_of(store.site).c_str(), place.rank, block_rank());
  traffic::copy_bulk(store.rows, true, store.site);
  store.source = place;
  store.reader = race::fork(race::self(), true);
  store.writer = race::fork(race::self(), true);
  const auto shared = std::make_shared<Store>(std::move(store));
  note_store(shared->reader, shared->writer);
  issue_to(
      Queue::kBulk, thread_number(),
      {shared->what, shared->site, [shared] { shared->read(); }, [shared] { shared->write(); }, 1u << place.rank, 0});
}

// A plain run as rows of a piece each, so that it too can come in two halves.
std::vector<TensorRow> run_rows(const void* global, unsigned bytes) {
  std::vector<TensorRow> rows(bytes / kPiece);
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = {reinterpret_cast<std::uint64_t>(global) + i * kPiece, 0, kPiece};
  return rows;
}

void require_run(const char* what, const void* global, unsigned bytes, Site site) {
  if (bytes == 0 || bytes % kBulkAlignment != 0 || bytes >= kMostBulkBytes)
    fail("%s at %s: %u bytes; expected a multiple of 16, from 16 to %u", what, place_of(site).c_str(), bytes,
         kMostBulkBytes - kBulkAlignment);
  if (reinterpret_cast<std::uintptr_t>(global) % kBulkAlignment != 0)
    fail("%s at %s: the global address is %p; expected a multiple of 16", what, place_of(site).c_str(), global);
  if (shared_place(global).rank >= 0)
    fail("%s at %s: %p lies in shared memory; expected global memory", what, place_of(site).c_str(), global);
}

}  // namespace

void load_tile(void* destination, const void* map, void* barrier, const int* coordinates, int rank, int mask,
               Site site) {
  const char* what = mask == kNoMulticast ? "load_tile" : "load_tile_multicast";
  const TensorMapImage image = require_tensor_map(map, what, site);
  require_form(image, what, rank, false, site);
  load_rows({what, site, tile_rows(image, coordinates), image.row_bytes(), image.swizzle, 0, 0, 0}, destination,
            kTileAlignment, barrier, mask);
}

void load_im2col(void* destination, const void* map, void* barrier, const int* coordinates, int rank,
                 const int* offsets, int mask, Site site) {
  const char* what = mask == kNoMulticast ? "load_im2col" : "load_im2col_multicast";
  const TensorMapImage image = require_tensor_map(map, what, site);
  require_form(image, what, rank, true, site);
  require_walk(image, what, coordinates, offsets, site);
  load_rows({what, site, im2col_rows(image, coordinates, offsets), image.row_bytes(), image.swizzle, 0, 0, 0},
            destination, kTileAlignment, barrier, mask);
}

void store_tile(const void* map, const void* source, const int* coordinates, int rank, Site site) {
  const TensorMapImage image = require_tensor_map(map, "store_tile", site);
  require_form(image, "store_tile", rank, false, site);
  for (int i = 1; i < rank; ++i) {
    if (image.step[i] != 1)
      fail(
          "store_tile at %s: the element stride of dimension %d is %d; expected 1, what a store makes of others is not "
          "documented",
          place_of(site).c_str(), i, image.step[i]);
  }
  store_rows({"store_tile", site, tile_rows(image, coordinates), image.row_bytes(), image.swizzle, {}, 0, 0, {}},
             source, kTileAlignment);
}

void copy_bulk(void* destination, const void* source, unsigned bytes, void* barrier, Site site) {
  require_run("copy_bulk", source, bytes, site);
  load_rows({"copy_bulk", site, run_rows(source, bytes), kPiece, 0, 0, 0, 0}, destination, kBulkAlignment, barrier,
            kNoMulticast);
}

void copy_bulk_out(void* destination, const void* source, unsigned bytes, Site site) {
  require_run("copy_bulk_out", destination, bytes, site);
  store_rows({"copy_bulk_out", site, run_rows(destination, bytes), kPiece, 0, {}, 0, 0, {}}, source, kBulkAlignment);
}

void prefetch_map(const void* map, Site site) { require_tensor_map(map, "prefetch_map", site); }

}  // namespace atrous::sim
