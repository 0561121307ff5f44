#include "granules.h"

#include <cassert>

namespace gpushim {

Granules::Granules(Driver& driver, std::vector<std::size_t> sizes, std::size_t budget)
    : driver_(driver), sizes_(std::move(sizes)), budget_(budget) {}

Granules::~Granules() { trim(); }

void Granules::requireRoom(std::size_t bytes) const {
  if (budget_ == 0 || bytes <= budget_ - used_) return;
  throw Failure(Code::noMemory, "the device's budget of " + std::to_string(budget_) + " bytes has " +
                                    std::to_string(budget_ - used_) + " left, and " + std::to_string(bytes) +
                                    " are needed");
}

std::vector<Granule> Granules::take(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  requireRoom(bytes);
  return collect(bytes);
}

// collect moves granules from unused to used, one after the other.
std::vector<Granule> Granules::collect(std::size_t bytes) {
  std::vector<Granule> got;
  try {
    for (std::size_t size : sizes_) {
      for (; bytes >= size; bytes -= size) {
        if (pop(size, &got)) continue;
        bool room = budget_ == 0 || held() + size <= budget_;
        if (!room && substitute(size, &got)) continue;
        make(size, &got);
      }
    }
  } catch (...) {
    for (const Granule& g : got) {
      free_[g.bytes].push_back(g.handle);
      used_ -= g.bytes;
      unused_ += g.bytes;
    }
    throw;
  }
  return got;
}

bool Granules::pop(std::size_t size, std::vector<Granule>* into) {
  std::vector<Handle>& list = free_[size];
  if (list.empty()) return false;
  into->push_back({list.back(), size});
  list.pop_back();
  unused_ -= size;
  used_ += size;
  return true;
}

// substitute makes up size of smaller granules that are unused.
bool Granules::substitute(std::size_t size, std::vector<Granule>* into) {
  std::size_t smaller = 0;
  for (const auto& list : free_) {
    if (list.first < size) smaller += list.first * list.second.size();
  }
  if (smaller < size) return false;
  // Every size divides the larger ones, so taking the largest first never leaves
  // a rest that the small ones cannot fill.
  for (std::size_t s : sizes_) {
    while (size >= s && pop(s, into)) size -= s;
  }
  assert(size == 0);
  return true;
}

// make creates a granule, and gives unused ones back where they are in its way.
void Granules::make(std::size_t size, std::vector<Granule>* into) {
  while (budget_ != 0 && held() + size > budget_) {
    if (!releaseOne()) throw Failure(Code::failed, "cannot give unused memory back: " + driver_.lastError());
  }
  Granule g{0, size};
  Code code = driver_.create(&g.handle, size);
  while (code == Code::noMemory && releaseOne()) code = driver_.create(&g.handle, size);
  check(driver_, code, "get memory from the device");
  into->push_back(g);
  used_ += size;
}

// releaseOne gives the largest unused granule back. False: there is none that the
// driver takes.
bool Granules::releaseOne() {
  for (std::size_t size : sizes_) {
    std::vector<Handle>& list = free_[size];
    while (!list.empty()) {
      if (driver_.release(list.back()) != Code::ok) break;  // still ours, and still counted
      list.pop_back();
      unused_ -= size;
      return true;
    }
  }
  return false;
}

void Granules::give(const std::vector<Granule>& granules) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Granule& g : granules) {
    free_[g.bytes].push_back(g.handle);
    used_ -= g.bytes;
    unused_ += g.bytes;
  }
}

void Granules::claim(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  requireRoom(bytes);
  while (budget_ != 0 && held() + bytes > budget_ && releaseOne()) {
  }
  if (budget_ != 0 && held() + bytes > budget_) {
    throw Failure(Code::failed, "cannot give unused memory back: " + driver_.lastError());
  }
  used_ += bytes;
}

void Granules::unclaim(std::size_t bytes) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  used_ -= bytes;
}

void Granules::trim() noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  while (releaseOne()) {
  }
}

Granules::Count Granules::count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {used_, unused_};
}

}  // namespace gpushim
