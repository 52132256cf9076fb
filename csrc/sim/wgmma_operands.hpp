// Where the 16-byte chunks of an operand of wgmma lie in shared memory, from the 64 bits of its matrix descriptor.
#pragma once

#include <cstdint>

namespace atrous::sim {

// The fields of PTX ISA, "Matrix Descriptor Format", in bytes.
struct DescriptorFields {
  unsigned start;
  unsigned leading;
  unsigned stride;
  int base_offset;
  int swizzle;  // 0 none, 1 of 128 bytes, 2 of 64, 3 of 32

  static DescriptorFields of(std::uint64_t bits) {
    const auto field = [bits](int at) { return static_cast<unsigned>(bits >> at & 0x3fffu) << 4; };
    return {field(0), field(16), field(32), static_cast<int>(bits >> 49 & 7u), static_cast<int>(bits >> 62)};
  }
};

inline unsigned swizzle_bytes(int swizzle) { return swizzle == 0 ? 16 : 256u >> swizzle; }

// What swizzle and shape make of a descriptor: rows are M or N of the product, and K is 32 bytes of each.
class OperandLayout {
 public:
  OperandLayout(const DescriptorFields& fields, bool is_across) : fields_(fields), is_across_(is_across) {}

  // K-major: the 16 bytes from 16 * chunk on, chunk 0 or 1, of K of row `row`.
  unsigned along_k(int row, int chunk) const {
    const auto r = static_cast<unsigned>(row), c = static_cast<unsigned>(chunk);
    const unsigned width = swizzle_bytes(fields_.swizzle);
    const unsigned across_k = fields_.swizzle == 0 ? fields_.leading : 16;
    return swizzled(fields_.start + r % 8 * width + r / 8 * fields_.stride + c * across_k);
  }

  // MN-major, 16-bit elements: the 8 rows from 8 * chunk on, of element k of K.
  unsigned along_rows(int chunk, int k) const {
    const auto j = static_cast<unsigned>(chunk), depth = static_cast<unsigned>(k);
    if (fields_.swizzle == 0) return fields_.start + depth % 8 * 16 + depth / 8 * fields_.leading + j * fields_.stride;
    const unsigned width = swizzle_bytes(fields_.swizzle), chunks = width / 16;
    return swizzled(fields_.start + j % chunks * 16 + j / chunks * fields_.leading + depth % 8 * width +
                    depth / 8 * fields_.stride);
  }

  bool is_across() const { return is_across_; }

 private:
  // Bits 4-6, 4-5 or 4 of the address ^= bits 7-9, 7-8 or 7 (CUTLASS: Swizzle<3, 4, 3>, <2, 4, 3>, <1, 4, 3>).
  unsigned swizzled(unsigned address) const {
    const unsigned lines = swizzle_bytes(fields_.swizzle) / 16 - 1;
    return address ^ ((address >> 7 & lines) << 4);
  }

  DescriptorFields fields_;
  bool is_across_;
};

}  // namespace atrous::sim
