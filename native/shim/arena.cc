#include "arena.h"

#include <algorithm>
#include <cassert>

namespace gpushim {

Arena::Arena(Driver& driver, ArenaOptions options)
    : driver_(driver),
      options_(std::move(options)),
      granules_(driver, options_.granules, options_.budget, [this] { return unmapAllRetired(); }) {}

std::unique_ptr<Range> Arena::reserve(std::size_t bytes) {
  auto range = std::make_unique<Range>();
  range->bytes = bytes;
  range->reserved = granules_.rounded(std::max<std::size_t>(bytes, 1));
  check(driver_, driver_.reserve(&range->base, range->reserved), "reserve device addresses");
  return range;
}

void Arena::unreserve(std::unique_ptr<Range> range) noexcept {
  assert(range->granules.empty());
  // Addresses that the driver does not take back are lost, but they are no memory.
  (void)driver_.unreserve(range->base, range->reserved);
}

void Arena::back(Range& range, std::size_t bytes) {
  assert(range.backed <= bytes && bytes <= range.reserved);
  std::vector<Granule> more = granules_.take(std::min(granules_.rounded(bytes), range.reserved) - range.backed);
  for (const Granule& g : more) range.backed += g.bytes;
  range.granules.insert(range.granules.end(), more.begin(), more.end());
  assert(range.backed <= range.reserved);
}

void Arena::map(Range& range) {
  if (range.next == 0) unmap(range);  // where it was retired
  for (; range.next < range.granules.size(); range.next++) {
    const Granule& g = range.granules[range.next];
    check(driver_, driver_.map(range.base + range.mapped, g.bytes, g.handle), "map device memory");
    range.mapped += g.bytes;
  }
  if (range.open == range.mapped) return;
  check(driver_, driver_.allow(range.base + range.open, range.mapped - range.open), "make device memory accessible");
  range.open = range.mapped;
}

// unmap ends what the range shows, of its own or of others.
void Arena::unmap(Range& range) {
  std::lock_guard<std::mutex> lock(retiredLock_);
  if (range.mapped == 0) return;  // somebody has just done it
  check(driver_, driver_.unmap(range.base, range.mapped), "unmap device memory");
  range.mapped = range.open = range.next = 0;
  retired_.erase(std::remove(retired_.begin(), retired_.end(), &range), retired_.end());
}

void Arena::unback(Range& range) {
  unmap(range);
  granules_.give(range.granules);
  range.granules.clear();
  range.backed = 0;
}

void Arena::retire(Range& range) {
  {
    // Before anybody can take the granules, and give them back to the driver.
    std::lock_guard<std::mutex> lock(retiredLock_);
    if (range.mapped > 0) retired_.push_back(&range);
    range.next = 0;
  }
  granules_.give(range.granules);
  range.granules.clear();
  range.backed = 0;
}

bool Arena::unmapRetired() {
  std::lock_guard<std::mutex> lock(retiredLock_);
  if (retired_.empty()) return false;
  Range& range = *retired_.front();
  check(driver_, driver_.unmap(range.base, range.mapped), "unmap device memory");
  range.mapped = range.open = 0;
  retired_.pop_front();
  auto gone = std::find_if(doomed_.begin(), doomed_.end(), [&](const auto& d) { return d.get() == &range; });
  if (gone != doomed_.end()) {
    unreserve(std::move(*gone));
    doomed_.erase(gone);
  }
  return true;
}

bool Arena::unmapAllRetired() noexcept {
  try {
    while (unmapRetired()) {
    }
    return true;
  } catch (const Failure&) {
    return false;
  }
}

void Arena::grow(Range& range, std::size_t bytes) {
  if (bytes <= range.open) return;
  if (bytes > range.backed) back(range, bytes);
  map(range);
}

Address Arena::allocate(std::size_t bytes, std::size_t alignment) {
  if (bytes < options_.small && alignment <= options_.small) return small(bytes, alignment);
  auto range = large(bytes);
  const Address base = range->base;
  std::lock_guard<std::mutex> lock(mutex_);
  ranges_[base] = std::move(range);
  return base;
}

// large is memory that is accessible, outside of slabs.
std::unique_ptr<Range> Arena::large(std::size_t bytes) {
  if (!remaps()) {
    auto range = std::make_unique<Range>();
    granules_.claim(bytes);
    if (Code code = driver_.alloc(&range->base, bytes); code != Code::ok) {
      granules_.unclaim(bytes);
      check(driver_, code, "get memory from the device");
    }
    range->bytes = range->reserved = range->backed = range->mapped = range->open = bytes;
    return range;
  }
  auto range = reserve(bytes);
  try {
    grow(*range, bytes);
  } catch (...) {
    dropLarge(std::move(range));
    throw;
  }
  return range;
}

bool Arena::dropLarge(std::unique_ptr<Range> range) noexcept {
  if (!remaps()) {
    if (driver_.free(range->base) != Code::ok) return false;
    granules_.unclaim(range->bytes);
    return true;
  }
  try {
    unback(*range);
    unreserve(std::move(range));
  } catch (const Failure&) {
    if (!range->granules.empty()) retire(*range);
    std::lock_guard<std::mutex> lock(retiredLock_);
    doomed_.push_back(std::move(range));
  }
  return true;
}

bool Arena::deallocate(Address at) noexcept {
  std::unique_ptr<Range> range;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = ranges_.find(at);
    if (it != ranges_.end()) {
      range = std::move(it->second);
      ranges_.erase(it);
    }
  }
  if (!range) return dropSmall(at);
  dropLarge(std::move(range));
  return true;
}

Range* Arena::find(Address at) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = ranges_.find(at);
  return it == ranges_.end() ? nullptr : it->second.get();
}

Address Arena::small(std::size_t bytes, std::size_t alignment) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (Address at = slabs_.allocate(bytes, alignment)) return at;
  }
  // Two threads may both come here, and make a chunk each: it will be used.
  auto chunk = large(remaps() ? options_.granules.back() : 2 * options_.small);
  std::lock_guard<std::mutex> lock(mutex_);
  const Address base = chunk->base;
  slabs_.addChunk(base, chunk->mapped);
  chunks_[base] = std::move(chunk);
  const Address at = slabs_.allocate(bytes, alignment);
  assert(at != 0);
  return at;
}

bool Arena::dropSmall(Address at) noexcept {
  std::unique_ptr<Range> chunk;
  bool known = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (Address unused = slabs_.deallocate(at, &known)) {
      slabs_.removeChunk(unused);
      chunk = std::move(chunks_[unused]);
      chunks_.erase(unused);
    }
  }
  if (chunk) dropLarge(std::move(chunk));
  return known;
}

std::size_t Arena::spare() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return slabs_.spare();
}

}  // namespace gpushim
