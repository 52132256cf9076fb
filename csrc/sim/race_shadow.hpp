// The shadow of the race check: for every byte that kernels share, who wrote it last and who has read it since.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "race_clocks.hpp"

namespace atrous::sim::race {

// What a byte remembers: 0, the number of a segment, or with kSet the number of a set of them. Numbers are never given
// twice, so that what earlier launches and clusters left is told by its size and needs no clearing.
using Word = std::uint32_t;
constexpr Word kSet = 0x80000000u;

// A place in the code: the offset of an instruction from the extension's start, or with kSite the number of a Site.
using Place = std::uint32_t;
constexpr Place kSite = 0x80000000u;

// One stretch of an agent's life that has accessed something.
struct Segment {
  Agent agent;
  Count count;
  Agent thread : 30;
  unsigned is_operation : 1;
  unsigned is_async_proxy : 1;
};

// Readers that nothing orders among each other: those of `before`, and one more.
struct Readers {
  Word before;
  Word segment;
};

constexpr std::size_t kPageBytes = 4096;

struct Page {
  Word writer[kPageBytes];
  Place writer_place[kPageBytes];
  Word reader[kPageBytes];
  Place reader_place[kPageBytes];
};

struct Access {
  bool is_write = false;
  Agent agent = 0;
  Place place = 0;
};

// The threads of a block.
struct Threads {
  Agent first;
  Agent last;
};

// Two accesses that nothing orders, a read of shared memory that nobody wrote, or an access to that of a block that has
// exited, or may have: of these the block is the one whose memory it is.
struct Finding {
  enum class Kind { kUnordered, kOtherCluster, kNotFenced, kUnwritten, kExited, kMayExit };
  Kind kind = Kind::kUnordered;
  std::uintptr_t address = 0;
  std::size_t bytes = 0;
  bool is_shared = false;
  Access now;
  bool earlier_is_write = false;
  Word earlier = 0;         // a segment, or a set of an earlier cluster
  Place earlier_place = 0;  // 0: not known
};

class Shadow {
 public:
  explicit Shadow(Clocks& clocks);

  void begin_launch();
  void begin_cluster(int first_block);
  void set_shared(std::uintptr_t low, std::size_t bytes) { shared_low_ = low, shared_bytes_ = bytes; }
  void add_stacks(std::uintptr_t low, std::size_t bytes);

  // Of a block that exits; false if a thread of another block has accessed these bytes and nothing puts that first.
  bool retire(Threads block, std::uintptr_t low, std::size_t bytes);

  // False if the access is a finding, which `found` then holds.
  bool access(const Access& access, std::uintptr_t address, std::size_t bytes) {
    if (address - stack_.low < stack_.bytes) return true;
    return access_further(access, address, bytes);
  }

  const Finding& found() const { return found_; }
  bool is_stack(std::uintptr_t address) const {
    if (address - stack_.low < stack_.bytes) return true;
    for (const Range& range : stacks_) {
      if (address - range.low < range.bytes) return true;
    }
    return false;
  }
  bool is_shared(std::uintptr_t address) const { return address - shared_low_ < shared_bytes_; }
  std::uintptr_t shared_low() const { return shared_low_; }

  // For reports; null once it has been dropped, in launches with millions of them.
  const Segment* segment(Word word) const;
  int first_block_of(Word word) const;  // of the cluster that the word stems from

 private:
  struct Range {
    std::uintptr_t low = 0;
    std::size_t bytes = 0;
  };
  struct Span {
    Page* page;
    std::size_t start;
    std::size_t end;
    bool is_shared;
    Word me;
  };
  bool is_foreign(Word segment, Threads block, bool is_write) const;
  Word foreign_reader(Word readers, Threads block) const;  // 0: none
  struct Memo {
    std::uint64_t key = 0;
    Word word = 0;
  };
  struct Start {  // of a cluster: the first numbers that are its own
    int first_block;
    Word segment;
    Word set;
  };

  bool access_further(const Access& access, std::uintptr_t address, std::size_t bytes);
  bool read(const Access& access, const Span& span);
  bool write(const Access& access, const Span& span);
  bool check_writer(const Access& access, const Span& span, std::size_t at, bool is_write);
  bool check_readers(const Access& access, const Span& span, std::size_t at);
  bool fail(Finding::Kind kind, const Access& access, const Span& span, std::size_t at, Word earlier,
            bool earlier_is_write);

  Word segment_of(Agent agent);
  Page* page_at(std::uintptr_t address);
  bool is_live(Word word, bool is_shared) const;
  bool is_of_this_cluster(Word word) const;
  bool is_ordered(Agent agent, Word segment) const;
  bool is_over(Agent agent, Word segment) const;
  Word first_unordered(Word readers, Agent agent) const;  // 0: none
  Word add_reader(Word readers, Word me, Agent agent);
  Word find_readers(Word readers, Word me, Agent agent);
  Word make_set(Word before, Word segment);
  const Readers& set(Word word) const { return sets_[(word & ~kSet) - first_set_]; }

  Clocks& clocks_;
  std::vector<Range> stacks_;
  Range stack_;                 // the one last asked for
  std::vector<Range> retired_;  // shared memory of blocks that have exited
  std::uintptr_t shared_low_ = 0;
  std::size_t shared_bytes_ = 0;

  std::vector<Segment> segments_;  // of this launch, or of its last millions
  Word first_segment_ = 1;         // the number of the first of them
  std::vector<Readers> sets_;
  Word first_set_ = 1;
  Start launch_{};
  Start cluster_{};
  std::vector<Start> clusters_;

  std::unordered_map<std::uintptr_t, Page*> pages_;
  std::vector<std::unique_ptr<Page>> all_pages_;
  std::size_t used_pages_ = 0;
  struct Lately {
    std::uintptr_t number = 0;
    Page* page = nullptr;
  };
  std::vector<Lately> lately_;

  std::vector<Memo> added_;  // results of add_reader, which depends on nothing but its two numbers
  std::vector<Memo> made_;   // results of make_set
  Finding found_;
};

}  // namespace atrous::sim::race
