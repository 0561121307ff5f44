// Device memory at addresses that never change, backed by granules that come and go.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "granules.h"
#include "slabs.h"

namespace gpushim {

// Range is one allocation. While it has no granules, its address means nothing to
// the device. It is used by one thread at a time.
struct Range {
  Address base = 0;
  std::size_t bytes = 0;     // asked for
  std::size_t reserved = 0;  // of addresses
  std::size_t backed = 0;    // bytes of the granules
  std::size_t mapped = 0;    // of them, from the begin of the range; or of granules that it had
  std::size_t open = 0;      // bytes that are accessible, likewise
  std::vector<Granule> granules;
  std::size_t next = 0;  // granule to be mapped next
};

struct ArenaOptions {
  std::size_t budget = 0;             // bytes of physical memory; 0: no limit
  std::vector<std::size_t> granules;  // sizes, descending; empty: plain memory that cannot be remapped
  std::size_t small = 1 << 20;        // allocations below it come from slabs; at most half of the smallest granule
};

// Arena is safe for use by several threads; its lock for allocations is not
// held across calls of the driver that map, unmap or reserve.
class Arena {
 public:
  Arena(Driver& driver, ArenaOptions options);
  // Nothing may be allocated any more.
  ~Arena() = default;

  bool remaps() const { return !options_.granules.empty(); }

  // Memory that is there until it is deallocated. All of these throw Failure.
  Address allocate(std::size_t bytes, std::size_t alignment);
  // False: nothing was allocated there. Memory that the driver fails to unmap is
  // free nevertheless, and unmapped later; plain memory that it fails to free
  // stays counted.
  bool deallocate(Address at) noexcept;
  // The range that was allocated there; null for small memory.
  Range* find(Address at);

  // Ranges whose memory comes and goes, where remaps(). back takes granules for
  // bytes in all, which are accessible at their homes at once; map makes them
  // accessible in the range; unback gives everything back, and after a failure
  // nothing.
  std::unique_ptr<Range> reserve(std::size_t bytes);
  void unreserve(std::unique_ptr<Range> range) noexcept;
  void back(Range& range, std::size_t bytes);
  void map(Range& range);
  void unback(Range& range);
  // Gives the granules back without unmapping them, which takes its time: others
  // may use the memory at once, while the range, which nobody may use, still shows
  // it. unmapRetired ends that for one range that is in that state, by the time
  // that it is mapped again at the latest; false: there is none.
  void retire(Range& range);
  bool unmapRetired();

  // Makes at least bytes of the range accessible, beside what is there already.
  void grow(Range& range, std::size_t bytes);

  void trim() noexcept { granules_.trim(); }
  void setBudget(std::size_t bytes) noexcept { granules_.setBudget(bytes); }
  std::size_t budget() const { return granules_.budget(); }
  // What of the budget is others', and what all have taken beside the arena: see
  // Granules.
  void setTaken(std::size_t bytes) noexcept { granules_.setTaken(bytes); }
  void lend(std::int64_t bytes) noexcept { granules_.lend(bytes); }
  [[nodiscard]] Code outside(std::size_t* bytes) const { return granules_.outside(bytes); }
  // Bytes of physical memory that are in use, and kept for reuse.
  Granules::Count count() const { return granules_.count(); }
  // Bytes in slabs that no allocation uses.
  std::size_t spare() const;

 private:
  void unmap(Range& range);
  bool unmapAllRetired() noexcept;
  std::unique_ptr<Range> large(std::size_t bytes);
  bool dropLarge(std::unique_ptr<Range> range) noexcept;
  Address small(std::size_t bytes, std::size_t alignment);
  bool dropSmall(Address at) noexcept;

  Driver& driver_;
  const ArenaOptions options_;

  // Held while they are unmapped, since each may be wanted again meanwhile. It is
  // taken last.
  std::mutex retiredLock_;
  std::deque<Range*> retired_;
  std::vector<std::unique_ptr<Range>> doomed_;  // deallocated, but they could not be unmapped

  Granules granules_;

  mutable std::mutex mutex_;
  std::map<Address, std::unique_ptr<Range>> ranges_;
  Slabs slabs_;
  std::map<Address, std::unique_ptr<Range>> chunks_;  // the slabs' memory
};

}  // namespace gpushim
