// The model of wgmma: reads its operands and writes its sums at some time between its issue and its wait.
#include "atrous_sim/wgmma.hpp"

#include <algorithm>
#include <cstring>
#include <memory>

#include "tensor_core.hpp"
#include "wgmma_operands.hpp"
#include "wgmma_state.hpp"

namespace atrous::sim {

namespace {

constexpr int kRows = 16;  // of a warp
constexpr int kDepthBytes = 32;

struct Lane {
  const WgmmaShape* shape;
  void* d;
  const unsigned* a_registers;
  std::uint64_t a;
  std::uint64_t b;
  bool accumulate;
  race::Agent agent;
  Site site;
};

struct Waiter {
  int pending;
  race::Agent agent;
};

// One wgmma of one warp in flight.
struct Product {
  WgmmaShape shape;
  bool accumulate;
  Site site;
  int rank;
  int first_row;  // of the warp, in a
  bool is_a_in_registers;
  OperandLayout a, b;
  TrackedRegisters* sums;
  TrackedRegisters* fragment;  // null unless a is in registers
  race::Agent agent;
  unsigned char a_bytes[kRows][kDepthBytes];
  std::vector<unsigned char> b_bytes;  // [N, kDepthBytes]
};

// Calls act(address, row of the first element, byte of K of the first element) for every 16 bytes of `rows` rows.
template <class Act>
void for_each_chunk(const OperandLayout& layout, int first_row, int rows, Act act) {
  if (layout.is_across()) {
    for (int row = first_row; row < first_row + rows; row += 8) {
      for (int k = 0; k < kDepthBytes / 2; ++k) act(layout.along_rows(row / 8, k), row, 2 * k);
    }
    return;
  }
  for (int row = first_row; row < first_row + rows; ++row) {
    for (int chunk = 0; chunk < 2; ++chunk) act(layout.along_k(row, chunk), row, 16 * chunk);
  }
}

// ---- descriptors

OperandLayout decode(std::uint64_t bits, bool is_across, const char* operand, Site site) {
  const DescriptorFields fields = DescriptorFields::of(bits);
  if (fields.base_offset != 0)
    fail(
        "wgmma at %s:%d: the descriptor of %s has base offset %d; expected 0 and a pattern that starts at a multiple "
        "of its length",
        site.file, site.line, operand, fields.base_offset);
  return {fields, is_across};
}

// The operand lies in one object of the block's own shared memory.
void require_operand(const OperandLayout& layout, int first_row, int rows, const char* operand, Site site) {
  unsigned low = ~0u, high = 0;
  for_each_chunk(layout, first_row, rows, [&](unsigned address, int, int) {
    low = std::min(low, address);
    high = std::max(high, address);
  });
  const std::string what =
      "wgmma at " + std::string(site.file) + ":" + std::to_string(site.line) + ", operand " + operand;
  const SharedPlace place = require_shared(shared_at(block_rank(), low), high + 16 - low, what.c_str());
  if (place.rank != block_rank()) fail("%s: it leaves the shared memory of its block", what.c_str());
}

// ---- an operation in flight

void read_operands(Product& product) {
  const auto read = [&product](const OperandLayout& layout, int first_row, int rows, unsigned char* to) {
    for_each_chunk(layout, first_row, rows, [&](unsigned address, int row, int byte) {
      const unsigned char* from = shared_at(product.rank, address);
      race::read(product.agent, from, 16, product.site);
      unsigned char* target = to + (row - first_row) * kDepthBytes + byte;
      if (!layout.is_across()) {
        std::memcpy(target, from, 16);
        return;
      }
      for (int i = 0; i < 8; ++i) std::memcpy(target + i * kDepthBytes, from + 2 * i, 2);
    });
  };
  if (!product.is_a_in_registers) read(product.a, product.first_row, kRows, &product.a_bytes[0][0]);
  read(product.b, 0, product.shape.columns, product.b_bytes.data());
}

// PTX ISA, "Register Fragments for wgmma.mma_async.m64nNk16" and its like: one map in bytes for all element types.
void read_fragment(Product& product) {
  const std::uint32_t* values = product.fragment->values();
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i)
      std::memcpy(&product.a_bytes[lane / 4 + 8 * (i % 2)][16 * (i / 2) + 4 * (lane % 4)], values + lane * 4 + i, 4);
  }
}

template <class Element>
void multiply(Product& product) {
  using Bits = typename Element::Bits;
  using Real = typename Element::Real;
  using Sum = typename Element::Sum;
  constexpr int kDepth = kDepthBytes / sizeof(Bits);
  constexpr int kColumns = tensor_core::kColumns;
  const auto element = [](const unsigned char* bytes) {
    Bits bits;
    std::memcpy(&bits, bytes, sizeof bits);
    return Element::real(bits);
  };
  Real a[kRows][kDepth];
  for (int m = 0; m < kRows; ++m)
    for (int k = 0; k < kDepth; ++k) a[m][k] = element(&product.a_bytes[m][k * sizeof(Bits)]);
  std::uint32_t* values = product.sums->values();
  const int words = product.shape.columns / 2;
  for (int column = 0; column < product.shape.columns; column += kColumns) {
    typename Element::Row b[kDepth];
    const unsigned char* b_bytes = &product.b_bytes[static_cast<std::size_t>(column * kDepthBytes)];
    for (int n = 0; n < kColumns; ++n)
      for (int k = 0; k < kDepth; ++k) b[k][n] = element(b_bytes + n * kDepthBytes + k * sizeof(Bits));
    for (int m = 0; m < kRows; ++m) {
      // Lane 4 (m % 8) + n / 2 holds columns n and n + 1 of a block of 8 in two registers of its four.
      Sum d[kColumns] = {};
      std::uint32_t* row = values + m % 8 * 4 * words + column / 2 + m / 8 * 2;
      if (product.accumulate)
        for (int n = 0; n < kColumns; n += 2) std::memcpy(&d[n], row + n / 2 * words, 8);
      tensor_core::add_products(d, a[m], b, kDepth);
      for (int n = 0; n < kColumns; n += 2) std::memcpy(row + n / 2 * words, &d[n], 8);
    }
  }
}

void multiply(Product& product) {
  switch (product.shape.element) {
    case MatrixElement::kFloat16:
      return multiply<tensor_core::Float16>(product);
    case MatrixElement::kBfloat16:
      return multiply<tensor_core::Bfloat16>(product);
    case MatrixElement::kTfloat32:
      return multiply<tensor_core::Tfloat32>(product);
    case MatrixElement::kFloat8E4m3:
      return multiply<tensor_core::Float8E4m3>(product);
    case MatrixElement::kFloat8E5m2:
      return multiply<tensor_core::Float8E5m2>(product);
    case MatrixElement::kInt8:
      return multiply<tensor_core::Int8>(product);
    case MatrixElement::kUint8:
      return multiply<tensor_core::Uint8>(product);
  }
}

void land(Product& product) {
  if (!product.sums->is_unchanged()) fail("the accumulators were written by other instructions before its wait");
  if (product.fragment != nullptr) {
    if (!product.fragment->is_unchanged()) fail("the registers of a were written before its wait");
    read_fragment(product);
    --product.fragment->in_flight;
  }
  multiply(product);
  product.sums->write_values();
  --product.sums->in_flight;
}

// ---- issue

TrackedRegisters& track(void* const* lanes, int words, const char* what, Site site) {
  WarpRecord& warp = own_warp();
  const auto found = warp.registers.find(lanes[0]);
  if (found != warp.registers.end()) {
    TrackedRegisters& known = found->second;
    if (known.is_same_array(lanes, words)) {
      if (known.is_unchanged()) return known;
      if (known.in_flight > 0)
        fail(
            "wgmma at %s:%d: %s were written while an earlier wgmma that uses them is in flight; expected a "
            "wgmma_wait first",
            site.file, site.line, what);
      fail("wgmma at %s:%d: %s were written after the last wgmma_fence; expected a wgmma_fence between", site.file,
           site.line, what);
    }
    if (known.in_flight > 0)
      fail("wgmma at %s:%d: %s overlap those of a wgmma of another shape in flight", site.file, site.line, what);
  }
  return warp.registers[lanes[0]] = TrackedRegisters(lanes, words);
}

void require_warpgroup(const char* name, Site site) {
  const int first = thread_number() / 128 * 128;
  if (thread_count() < first + 128)
    fail(
        "%s at %s:%d is called by threads %d-%d, which are no whole warpgroup; expected four warps from a multiple of "
        "128 threads on",
        name, site.file, site.line, first, thread_count() - 1);
}

void require_same_lanes(void* const* left) {
  const Lane& first = *static_cast<const Lane*>(left[0]);
  for (int number = 1; number < 32; ++number) {
    const Lane& lane = *static_cast<const Lane*>(left[number]);
    const char* different = lane.a != first.a                     ? "descriptors of a"
                            : lane.b != first.b                   ? "descriptors of b"
                            : lane.accumulate != first.accumulate ? "accumulate"
                                                                  : nullptr;
    if (different != nullptr)
      fail("wgmma at %s:%d: lanes 0 and %d differ in their %s; expected the same in all lanes", first.site.file,
           first.site.line, number, different);
  }
}

// Past a wait the registers may be read as well as written, and a fence must lie between either and the next wgmma that
// uses them (PTX ISA, wgmma.fence). Writes show in track(); for what cannot be seen a fence is asked of every kernel.
void require_fence_after_wait(const WarpRecord& warp, Site site) {
  if (warp.has_waited)
    fail("wgmma at %s:%d is the first after a wgmma_wait; expected a wgmma_fence between", site.file, site.line);
}

void issue_wgmma(void* const* left) {
  require_same_lanes(left);
  const Lane& first = *static_cast<const Lane*>(left[0]);
  const Site site = first.site;
  const WgmmaShape shape = *first.shape;
  const bool is_in_registers = first.a_registers != nullptr;
  WarpRecord& warp = own_warp();
  if (!warp.has_fenced)
    fail("wgmma at %s:%d is the first of its warp and no wgmma_fence came before it", site.file, site.line);
  compare_with_warpgroup({shape, is_in_registers, first.a, first.b, first.accumulate, site});
  void* sums[32];
  void* fragment[32];
  for (int number = 0; number < 32; ++number) {
    const Lane& lane = *static_cast<const Lane*>(left[number]);
    sums[number] = lane.d;
    fragment[number] = const_cast<unsigned*>(lane.a_registers);
  }
  const int number = thread_number();
  const int first_row = number / 32 % 4 * kRows;
  const OperandLayout a = decode(first.a, shape.is_a_across, "a", site);
  const OperandLayout b = decode(first.b, shape.is_b_across, "b", site);
  if (!is_in_registers) require_operand(a, first_row, kRows, "a", site);
  require_operand(b, 0, shape.columns, "b", site);
  TrackedRegisters& d = track(sums, shape.columns / 2, "the accumulators", site);
  ++d.in_flight;
  TrackedRegisters* a_fragment = is_in_registers ? &track(fragment, 4, "the registers of a", site) : nullptr;
  if (a_fragment != nullptr) ++a_fragment->in_flight;
  require_fence_after_wait(warp, site);
  const race::Agent agent = race::fork(first.agent, true);
  warp.open_group.push_back(agent);
  const auto product = std::make_shared<Product>(
      Product{shape,
              first.accumulate,
              site,
              block_rank(),
              first_row,
              is_in_registers,
              a,
              b,
              &d,
              a_fragment,
              agent,
              {},
              std::vector<unsigned char>(static_cast<std::size_t>(shape.columns * kDepthBytes))});
  AsyncOperation operation{"wgmma", site, [product] { read_operands(*product); }, [product] { land(*product); }};
  operation.reads_blocks = 1u << block_rank();
  issue_to(Queue::kMatrix, number / 32 * 32, std::move(operation));
}

// ---- fence, commit, wait

// Registers as they are now are what later wgmmas see.
void fence(void* const*) {
  WarpRecord& warp = own_warp();
  warp.has_fenced = true;
  warp.has_waited = false;
  for (auto& [start, registers] : warp.registers) {
    if (registers.in_flight == 0) registers.remember();
  }
}

void commit(void* const*) {
  commit_group(Queue::kMatrix, thread_number() / 32 * 32);
  WarpRecord& warp = own_warp();
  warp.groups.push_back(std::move(warp.open_group));
  warp.open_group.clear();
}

void wait_and_observe(void* const* left) {
  const int pending = static_cast<const Waiter*>(left[0])->pending;
  wait_groups(Queue::kMatrix, thread_number() / 32 * 32, pending, false);
  WarpRecord& warp = own_warp();
  warp.has_waited = true;
  while (warp.groups.size() > static_cast<std::size_t>(pending)) {
    for (const race::Agent operation : warp.groups.front()) {
      for (int lane = 0; lane < 32; ++lane) race::observe(static_cast<const Waiter*>(left[lane])->agent, operation);
      race::end(operation);
    }
    warp.groups.pop_front();
  }
}

constexpr unsigned kWholeWarp = 0xffffffffu;

}  // namespace

void wgmma(const WgmmaShape& shape, void* d, std::uint64_t a_descriptor, const unsigned* a_registers,
           std::uint64_t b_descriptor, bool accumulate, Site site) {
  require_warpgroup("wgmma", site);
  Lane lane{&shape, d, a_registers, a_descriptor, b_descriptor, accumulate, race::self(), site};
  warp_collective("wgmma", kWholeWarp, &lane, &issue_wgmma, site);
}

void wgmma_fence(Site site) {
  require_warpgroup("wgmma_fence", site);
  warp_collective("wgmma_fence", kWholeWarp, nullptr, &fence, site);
}

void wgmma_commit(Site site) {
  require_warpgroup("wgmma_commit", site);
  warp_collective("wgmma_commit", kWholeWarp, nullptr, &commit, site);
}

void wgmma_wait(int pending, Site site) {
  require_warpgroup("wgmma_wait", site);
  Waiter waiter{pending, race::self()};
  warp_collective("wgmma_wait", kWholeWarp, &waiter, &wait_and_observe, site);
}

std::uint64_t make_matrix_descriptor(const void* tile, int leading_bytes, int stride_bytes, int swizzle, Site site) {
  const SharedPlace place = shared_place(tile);
  if (place.rank != block_rank())
    fail("make_descriptor at %s:%d: the tile at %p is not in the shared memory of its block", site.file, site.line,
         tile);
  const unsigned alignment = swizzle == 0 ? 16 : 8 * swizzle_bytes(swizzle);
  if (place.offset % alignment != 0)
    fail(
        "make_descriptor at %s:%d: the tile starts %u bytes past a multiple of %u in shared memory; expected a "
        "multiple%s",
        site.file, site.line, place.offset % alignment, alignment,
        swizzle == 0 ? "" : ", where the pattern of its swizzle starts");
  if (place.offset >= 1u << 18)
    fail("make_descriptor at %s:%d: the tile at byte %u of shared memory is past the 2^18 that a descriptor holds",
         site.file, site.line, place.offset);
  for (const int bytes : {leading_bytes, stride_bytes}) {
    if (bytes % 16 != 0 || bytes < 0 || bytes >= 1 << 18)
      fail(
          "make_descriptor at %s:%d: %d bytes came for a leading or stride distance; expected a multiple of 16 from 0 "
          "to 2^18",
          site.file, site.line, bytes);
  }
  const auto encode = [](unsigned bytes) { return static_cast<std::uint64_t>(bytes >> 4); };
  return encode(place.offset) | encode(static_cast<unsigned>(leading_bytes)) << 16 |
         encode(static_cast<unsigned>(stride_bytes)) << 32 | static_cast<std::uint64_t>(swizzle) << 62;
}

std::uint64_t advance_matrix_descriptor(std::uint64_t descriptor, int bytes, Site site) {
  const int start = static_cast<int>(DescriptorFields::of(descriptor).start) + bytes;
  if (bytes % 16 != 0 || start < 0 || start >= 1 << 18)
    fail(
        "advance at %s:%d: by %d bytes, to byte %d of shared memory; expected a multiple of 16 that stays from 0 to "
        "2^18",
        site.file, site.line, bytes, start);
  return (descriptor & ~std::uint64_t{0x3fff}) | static_cast<std::uint64_t>(start >> 4);
}

}  // namespace atrous::sim
