#include "slabs.h"

#include <algorithm>

namespace gpushim {

namespace {
// Sizes and addresses are multiples of this, which is what CUDA's own allocator
// aligns to.
constexpr std::size_t kUnit = 256;

std::size_t roundUp(std::size_t n, std::size_t unit) { return (n + unit - 1) / unit * unit; }
}  // namespace

std::size_t Slabs::rounded(std::size_t bytes) { return roundUp(std::max<std::size_t>(bytes, 1), kUnit); }

void Slabs::addChunk(Address base, std::size_t bytes) {
  Chunk& chunk = chunks_[base];
  chunk.bytes = bytes;
  chunk.free[base] = bytes;
}

void Slabs::removeChunk(Address base) { chunks_.erase(base); }

Address Slabs::allocate(std::size_t bytes, std::size_t alignment) {
  bytes = rounded(bytes);
  alignment = std::max(alignment, kUnit);
  for (auto& entry : chunks_) {
    if (Address at = fit(entry.second, bytes, alignment)) return at;
  }
  return 0;
}

Address Slabs::fit(Chunk& chunk, std::size_t bytes, std::size_t alignment) {
  for (auto it = chunk.free.begin(); it != chunk.free.end(); ++it) {
    const Address begin = it->first, end = begin + it->second;
    const Address at = roundUp(begin, alignment);
    if (at + bytes > end) continue;
    chunk.free.erase(it);
    if (at > begin) chunk.free[begin] = at - begin;
    if (end > at + bytes) chunk.free[at + bytes] = end - at - bytes;
    chunk.used[at] = bytes;
    return at;
  }
  return 0;
}

Address Slabs::deallocate(Address at, bool* known) {
  *known = false;
  auto owner = chunks_.upper_bound(at);
  if (owner == chunks_.begin()) return 0;
  --owner;
  Chunk& chunk = owner->second;
  auto block = chunk.used.find(at);
  if (block == chunk.used.end()) return 0;
  *known = true;
  std::size_t bytes = block->second;
  chunk.used.erase(block);

  auto after = chunk.free.lower_bound(at);
  if (after != chunk.free.end() && after->first == at + bytes) {
    bytes += after->second;
    after = chunk.free.erase(after);
  }
  if (after != chunk.free.begin()) {
    auto before = std::prev(after);
    if (before->first + before->second == at) {
      before->second += bytes;
      return chunk.used.empty() ? owner->first : 0;
    }
  }
  chunk.free[at] = bytes;
  return chunk.used.empty() ? owner->first : 0;
}

std::size_t Slabs::spare() const {
  std::size_t n = 0;
  for (const auto& chunk : chunks_) {
    for (const auto& hole : chunk.second.free) n += hole.second;
  }
  return n;
}

}  // namespace gpushim
