// Pinned host memory: what models take, under a budget, and what callers have.
#pragma once

#include <map>
#include <mutex>
#include <shared_mutex>

#include "driver.h"

namespace gpushim {

// HostPool counts pinned memory; one serves all devices.
class HostPool {
 public:
  explicit HostPool(std::size_t budget) : budget_(budget) {}  // 0: no limit

  // Throws Failure.
  void* allocate(Driver& driver, std::size_t bytes);
  // Memory that the driver does not take back stays counted.
  void deallocate(Driver& driver, void* memory, std::size_t bytes) noexcept;
  std::size_t used() const;

  // Pins a caller's memory for all devices, beside the budget. Throws Failure.
  void pin(Driver& driver, void* memory, std::size_t bytes);
  // No run may be using it. It counts as not pinned, whatever the driver says.
  void unpin(Driver& driver, void* memory);
  // Whether all of these bytes are in one piece that a caller has pinned.
  bool pinned(const void* memory, std::size_t bytes) const;

 private:
  const std::size_t budget_;
  mutable std::mutex mutex_;
  std::size_t used_ = 0;

  mutable std::shared_mutex pinsLock_;
  std::map<const char*, std::size_t> pins_;  // begin -> bytes
};

// Pinned is memory from a pool for the length of its life.
class Pinned {
 public:
  Pinned() = default;
  Pinned(HostPool& pool, Driver& driver, std::size_t bytes)
      : pool_(&pool), driver_(&driver), data_(pool.allocate(driver, bytes)), bytes_(bytes) {}
  Pinned(Pinned&& other) noexcept { *this = static_cast<Pinned&&>(other); }
  Pinned& operator=(Pinned&& other) noexcept;
  ~Pinned() { reset(); }

  char* data() const { return static_cast<char*>(data_); }
  std::size_t bytes() const { return bytes_; }

 private:
  void reset() noexcept;

  HostPool* pool_ = nullptr;
  Driver* driver_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace gpushim
