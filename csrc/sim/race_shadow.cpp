// The shadow: accesses compared with the last write and the reads since, and remembered.
#ifdef ATROUS_SIM_RACE

#include "race_shadow.hpp"

#include <algorithm>

namespace atrous::sim::race {

static constexpr std::size_t kMemos = 1u << 14;
static constexpr std::size_t kPagesLately = 256;
static constexpr std::size_t kMostSegments = 1u << 22;
static constexpr Word kLastNumber = 0x60000000u;  // a launch after it begins anew

// The end of the bytes from `at` on that remember the same.
static std::size_t end_of_run(const Page& page, std::size_t at, std::size_t end) {
  std::size_t i = at + 1;
  while (i < end && page.writer[i] == page.writer[at] && page.reader[i] == page.reader[at]) ++i;
  return i;
}

Shadow::Shadow(Clocks& clocks) : clocks_(clocks), lately_(kPagesLately), added_(kMemos), made_(kMemos) {}

void Shadow::begin_launch() {
  first_segment_ += static_cast<Word>(segments_.size());
  first_set_ += static_cast<Word>(sets_.size());
  segments_.clear();
  sets_.clear();
  clusters_.clear();
  pages_.clear();
  used_pages_ = 0;
  lately_.assign(kPagesLately, Lately{});
  if (first_segment_ > kLastNumber || first_set_ > kLastNumber) {
    all_pages_.clear();
    added_.assign(kMemos, Memo{});
    made_.assign(kMemos, Memo{});
    first_segment_ = first_set_ = 1;
  }
  launch_ = {0, first_segment_, first_set_};
}

void Shadow::begin_cluster(int first_block) {
  if (segments_.size() > kMostSegments) {
    first_segment_ += static_cast<Word>(segments_.size());
    segments_.clear();
  }
  cluster_ = {first_block, first_segment_ + static_cast<Word>(segments_.size()),
              first_set_ + static_cast<Word>(sets_.size())};
  clusters_.push_back(cluster_);
  retired_.clear();
}

void Shadow::add_stacks(std::uintptr_t low, std::size_t bytes) {
  stacks_.push_back({low, bytes});
  std::sort(stacks_.begin(), stacks_.end(), [](const Range& a, const Range& b) { return a.low < b.low; });
  std::vector<Range> merged;
  for (const Range& range : stacks_) {
    if (!merged.empty() && merged.back().low + merged.back().bytes == range.low)
      merged.back().bytes += range.bytes;
    else
      merged.push_back(range);
  }
  stacks_ = merged;
}

Word Shadow::segment_of(Agent agent) {
  AgentState& state = clocks_[agent];
  if (state.segment != 0) return state.segment;
  state.segment = first_segment_ + static_cast<Word>(segments_.size());
  segments_.push_back({agent, state.count, state.thread, state.is_operation, state.is_async_proxy});
  return state.segment;
}

const Segment* Shadow::segment(Word word) const {
  if ((word & kSet) != 0 || word < first_segment_) return nullptr;
  return &segments_[word - first_segment_];
}

int Shadow::first_block_of(Word word) const {
  int block = 0;
  for (const Start& start : clusters_) {
    const Word first = (word & kSet) != 0 ? start.set : start.segment;
    if ((word & ~kSet) >= first) block = start.first_block;
  }
  return block;
}

bool Shadow::is_of_this_cluster(Word word) const {
  return (word & kSet) != 0 ? (word & ~kSet) >= cluster_.set : word >= cluster_.segment;
}

// Whether the word means anything: shared memory begins anew with every cluster, the rest with every launch.
bool Shadow::is_live(Word word, bool is_shared) const {
  if (word == 0) return false;
  const Start& start = is_shared ? cluster_ : launch_;
  return (word & kSet) != 0 ? (word & ~kSet) >= start.set : word >= start.segment;
}

bool Shadow::is_ordered(Agent agent, Word word) const {
  if (word < cluster_.segment) return false;  // clusters of a launch run in any order
  const Segment& segment = segments_[word - first_segment_];
  return clocks_.is_ordered(agent, segment.agent, segment.count);
}

bool Shadow::is_over(Agent agent, Word word) const {
  if (word < cluster_.segment) return false;
  const Segment& segment = segments_[word - first_segment_];
  return clocks_.is_over(agent, segment.agent, segment.count);
}

// Whether a thread of another block did this, and nothing puts it ahead of the end of `block`.
bool Shadow::is_foreign(Word segment, Threads block, bool is_write) const {
  const Segment& found = segments_[segment - first_segment_];
  const bool is_own = block.first <= found.thread && found.thread <= block.last;
  if (found.is_operation != 0 || is_own) return false;
  return is_write ? !is_ordered(block.last, segment) : !is_over(block.last, segment);
}

Word Shadow::foreign_reader(Word readers, Threads block) const {
  while (readers != 0) {
    const bool is_set = (readers & kSet) != 0;
    const Word segment = is_set ? set(readers).segment : readers;
    if (is_foreign(segment, block, false)) return segment;
    readers = is_set ? set(readers).before : 0;
  }
  return 0;
}

bool Shadow::retire(Threads block, std::uintptr_t low, std::size_t bytes) {
  const std::uintptr_t end = low + bytes;
  for (std::uintptr_t address = low; address < end;) {
    const Page& page = *page_at(address);
    const std::size_t at = address % kPageBytes;
    const Word writer = page.writer[at], readers = page.reader[at];
    const bool is_write = is_live(writer, true) && is_foreign(writer, block, true);
    const Word found = is_write ? writer : is_live(readers, true) ? foreign_reader(readers, block) : 0;
    if (found != 0) {
      const bool is_last = is_write || (readers & kSet) == 0 || set(readers).segment == found;
      const Place place = is_write ? page.writer_place[at] : is_last ? page.reader_place[at] : 0;
      const Agent thread = segments_[found - first_segment_].thread;
      found_ = {Finding::Kind::kMayExit, address, 1, true, {is_write, thread, place}};
      return false;
    }
    address += end_of_run(page, at, std::min(kPageBytes, at + (end - address))) - at;
  }
  retired_.push_back({low, bytes});
  return true;
}

Page* Shadow::page_at(std::uintptr_t address) {
  const std::uintptr_t number = address / kPageBytes;
  Lately& lately = lately_[number % kPagesLately];
  if (lately.number == number) return lately.page;
  Page*& page = pages_[number];
  if (page == nullptr) {
    if (used_pages_ == all_pages_.size()) all_pages_.push_back(std::make_unique<Page>());
    page = all_pages_[used_pages_++].get();
  }
  lately = {number, page};
  return page;
}

bool Shadow::access_further(const Access& access, std::uintptr_t address, std::size_t bytes) {
  for (const Range& range : stacks_) {
    if (address - range.low >= range.bytes) continue;
    stack_ = range;
    return true;
  }
  for (const Range& range : retired_) {
    if (address - range.low >= range.bytes) continue;
    found_ = {Finding::Kind::kExited, address, bytes, true, access};
    return false;
  }
  const Word me = segment_of(access.agent);
  while (bytes != 0) {
    const std::size_t start = address % kPageBytes;
    const std::size_t count = std::min(bytes, kPageBytes - start);
    const Span span{page_at(address), start, start + count, is_shared(address), me};
    found_.address = address - start;  // of the page, until it is a finding
    if (!(access.is_write ? write(access, span) : read(access, span))) {
      found_.address = std::max(address, found_.address);
      return false;
    }
    address += count;
    bytes -= count;
  }
  return true;
}

static bool all_are(const Word* words, std::size_t count, Word word) {
  for (std::size_t i = 0; i < count; ++i) {
    if (words[i] != word) return false;
  }
  return true;
}

bool Shadow::read(const Access& access, const Span& span) {
  Page& page = *span.page;
  if (all_are(page.reader + span.start, span.end - span.start, span.me)) return true;
  for (std::size_t at = span.start; at < span.end;) {
    const std::size_t end = end_of_run(page, at, span.end);
    const Word reader = page.reader[at];
    if (reader != span.me) {
      if (!check_writer(access, span, at, false)) return false;
      const Word readers = is_live(reader, span.is_shared) ? add_reader(reader, span.me, access.agent) : span.me;
      std::fill(page.reader + at, page.reader + end, readers);
      std::fill(page.reader_place + at, page.reader_place + end, access.place);
    }
    at = end;
  }
  return true;
}

// The writer counts as a reader too, so that its own further accesses are recognised at a glance.
bool Shadow::write(const Access& access, const Span& span) {
  Page& page = *span.page;
  const std::size_t count = span.end - span.start;
  if (all_are(page.reader + span.start, count, span.me) && all_are(page.writer + span.start, count, span.me))
    return true;
  for (std::size_t at = span.start; at < span.end;) {
    const std::size_t end = end_of_run(page, at, span.end);
    if (!check_writer(access, span, at, true) || !check_readers(access, span, at)) return false;
    std::fill(page.writer + at, page.writer + end, span.me);
    std::fill(page.writer_place + at, page.writer_place + end, access.place);
    std::fill(page.reader + at, page.reader + end, span.me);
    std::fill(page.reader_place + at, page.reader_place + end, access.place);
    at = end;
  }
  return true;
}

bool Shadow::check_writer(const Access& access, const Span& span, std::size_t at, bool is_write) {
  const Word writer = span.page->writer[at];
  if (!is_live(writer, span.is_shared)) {
    if (is_write || !span.is_shared) return true;
    return fail(Finding::Kind::kUnwritten, access, span, at, 0, false);
  }
  if (writer == span.me) return true;
  const Segment* segment = is_of_this_cluster(writer) ? &segments_[writer - first_segment_] : nullptr;
  const bool is_by_engine = segment != nullptr && segment->is_async_proxy != 0;
  if (!(is_by_engine ? is_over(access.agent, writer) : is_ordered(access.agent, writer)))
    return fail(Finding::Kind::kUnordered, access, span, at, writer, true);
  if (is_by_engine || !clocks_[access.agent].is_async_proxy) return true;
  // The fence that kernels have is that of shared memory.
  if (span.is_shared && clocks_.is_fenced(access.agent, segment->agent, segment->count)) return true;
  return fail(Finding::Kind::kNotFenced, access, span, at, writer, true);
}

bool Shadow::check_readers(const Access& access, const Span& span, std::size_t at) {
  const Word readers = span.page->reader[at];
  if (readers == span.me || !is_live(readers, span.is_shared)) return true;
  const Word unordered = first_unordered(readers, access.agent);
  return unordered == 0 || fail(Finding::Kind::kUnordered, access, span, at, unordered, false);
}

bool Shadow::fail(Finding::Kind kind, const Access& access, const Span& span, std::size_t at, Word earlier,
                  bool earlier_is_write) {
  const Page& page = *span.page;
  found_.kind = kind;
  if (kind == Finding::Kind::kUnordered && !is_of_this_cluster(earlier)) found_.kind = Finding::Kind::kOtherCluster;
  found_.address += at;
  found_.bytes = span.end - span.start;
  found_.is_shared = span.is_shared;
  found_.now = access;
  found_.earlier = earlier;
  found_.earlier_is_write = earlier_is_write;
  // Of several readers the place of the last alone is kept.
  const Word last = (page.reader[at] & kSet) != 0 && is_of_this_cluster(page.reader[at]) ? set(page.reader[at]).segment
                                                                                         : page.reader[at];
  found_.earlier_place = earlier_is_write ? page.writer_place[at] : last == earlier ? page.reader_place[at] : 0;
  return false;
}

// The latest of these readers that does not come before what `agent` does now.
Word Shadow::first_unordered(Word readers, Agent agent) const {
  while (readers != 0) {
    if (!is_of_this_cluster(readers)) return readers;
    const bool is_set = (readers & kSet) != 0;
    const Word segment = is_set ? set(readers).segment : readers;
    if (!is_over(agent, segment)) return segment;
    readers = is_set ? set(readers).before : 0;
  }
  return 0;
}

static std::uint64_t mix(std::uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;
  return key >> 50;
}

Word Shadow::make_set(Word before, Word segment) {
  const std::uint64_t key = static_cast<std::uint64_t>(before) << 32 | segment;
  Memo& memo = made_[mix(key)];
  if (memo.key == key) return memo.word;
  memo = {key, kSet | (first_set_ + static_cast<Word>(sets_.size()))};
  sets_.push_back({before, segment});
  return memo.word;
}

Word Shadow::add_reader(Word readers, Word me, Agent agent) {
  const std::uint64_t key = static_cast<std::uint64_t>(readers) << 32 | me;
  Memo& memo = added_[mix(key)];
  if (memo.key == key) return memo.word;
  const Word word = find_readers(readers, me, agent);
  memo = {key, word};
  return word;
}

// `readers` without those who come before `me`, and with `me`. Any one reader of an earlier cluster stands for all.
Word Shadow::find_readers(Word readers, Word me, Agent agent) {
  std::vector<Word> kept;  // the latest first
  bool is_any_dropped = false;
  Word word = readers;
  while (word != 0 && is_of_this_cluster(word)) {
    const bool is_set = (word & kSet) != 0;
    const Word segment = is_set ? set(word).segment : word;
    if (segment == me) return readers;
    if (is_ordered(agent, segment))
      is_any_dropped = true;
    else
      kept.push_back(segment);
    word = is_set ? set(word).before : 0;
  }
  if (!is_any_dropped) return make_set(readers, me);
  for (std::size_t i = kept.size(); i-- > 0;) word = word == 0 ? kept[i] : make_set(word, kept[i]);
  return word == 0 ? me : make_set(word, me);
}

}  // namespace atrous::sim::race

#endif
