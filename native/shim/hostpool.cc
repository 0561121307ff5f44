#include "hostpool.h"

#include <utility>

namespace gpushim {

void* HostPool::allocate(Driver& driver, std::size_t bytes) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (budget_ != 0 && bytes > budget_ - used_) {
      throw Failure(Code::noMemory, "the pinned host pool of " + std::to_string(budget_) + " bytes has " +
                                        std::to_string(budget_ - used_) + " left, and " + std::to_string(bytes) +
                                        " are needed");
    }
    used_ += bytes;
  }
  void* memory = nullptr;
  if (Code code = driver.allocHost(&memory, bytes); code != Code::ok) {
    std::lock_guard<std::mutex> lock(mutex_);
    used_ -= bytes;
    check(driver, code, "pin host memory");
  }
  return memory;
}

void HostPool::deallocate(Driver& driver, void* memory, std::size_t bytes) noexcept {
  if (driver.freeHost(memory) != Code::ok) return;
  std::lock_guard<std::mutex> lock(mutex_);
  used_ -= bytes;
}

std::size_t HostPool::used() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return used_;
}

void HostPool::pin(Driver& driver, void* memory, std::size_t bytes) {
  if (memory == nullptr || bytes == 0) throw Failure(Code::failed, "there is no memory to be pinned");
  check(driver, driver.pinHost(memory, bytes), "pin the caller's memory");
  std::unique_lock<std::shared_mutex> lock(pinsLock_);
  pins_[static_cast<const char*>(memory)] = bytes;
}

void HostPool::unpin(Driver& driver, void* memory) {
  {
    std::unique_lock<std::shared_mutex> lock(pinsLock_);
    if (pins_.erase(static_cast<const char*>(memory)) == 0) throw Failure(Code::failed, "it is not pinned");
  }
  check(driver, driver.unpinHost(memory), "unpin the caller's memory");
}

bool HostPool::pinned(const void* memory, std::size_t bytes) const {
  const char* begin = static_cast<const char*>(memory);
  std::shared_lock<std::shared_mutex> lock(pinsLock_);
  auto it = pins_.upper_bound(begin);
  if (it == pins_.begin()) return false;
  --it;
  const std::size_t at = std::size_t(begin - it->first);
  return at <= it->second && bytes <= it->second - at;
}

Pinned& Pinned::operator=(Pinned&& other) noexcept {
  if (this == &other) return *this;
  reset();
  pool_ = std::exchange(other.pool_, nullptr);
  driver_ = std::exchange(other.driver_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

void Pinned::reset() noexcept {
  if (data_ != nullptr) pool_->deallocate(*driver_, data_, bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace gpushim
