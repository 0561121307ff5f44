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
