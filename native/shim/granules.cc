#include "granules.h"

#include <algorithm>
#include <cassert>

namespace gpushim {

Granules::Granules(Driver& driver, std::vector<std::size_t> sizes, std::size_t budget, std::function<bool()> unmapAll)
    : driver_(driver), sizes_(std::move(sizes)), unmapAll_(std::move(unmapAll)), budget_(budget) {}

Granules::~Granules() { trim(); }

// left is what of the budget is neither used nor others'.
std::size_t Granules::left() const { return budget_ - std::min(budget_, used_ + others()); }

void Granules::requireRoom(std::size_t bytes) const {
  if (budget_ == 0 || bytes <= left()) return;
  throw Failure(Code::noMemory, "the device's budget of " + std::to_string(budget_) + " bytes has " +
                                    std::to_string(left()) + " left, and " + std::to_string(bytes) + " are needed");
}

std::size_t Granules::rounded(std::size_t bytes) const {
  const std::size_t smallest = sizes_.back();
  bytes = (bytes + smallest - 1) / smallest * smallest;
  if (sizes_.size() < 2) return bytes;
  const std::size_t next = sizes_[sizes_.size() - 2], rest = bytes % next;
  return bytes > next && rest > next / 2 ? bytes + next - rest : bytes;
}

std::vector<Granule> Granules::take(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  bytes = rounded(bytes);
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
      free_[g.bytes].push_back(g);
      used_ -= g.bytes;
      unused_ += g.bytes;
    }
    throw;
  }
  return got;
}

bool Granules::pop(std::size_t size, std::vector<Granule>* into) {
  std::vector<Granule>& list = free_[size];
  if (list.empty()) return false;
  into->push_back(list.back());
  list.pop_back();
  unused_ -= size;
  used_ += size;
  return true;
}

// substitute makes up size of smaller granules that are unused, but for the
// smallest.
bool Granules::substitute(std::size_t size, std::vector<Granule>* into) {
  const auto usable = [&](std::size_t s) { return s < size && s > sizes_.back(); };
  std::size_t smaller = 0;
  for (const auto& list : free_) {
    if (usable(list.first)) smaller += list.first * list.second.size();
  }
  if (smaller < size) return false;
  // Every size divides the larger ones, so taking the largest first never leaves
  // a rest that the small ones cannot fill.
  std::size_t missing = size;
  for (std::size_t s : sizes_) {
    while (usable(s) && missing >= s && pop(s, into)) missing -= s;
  }
  assert(missing == 0);
  return true;
}

// make creates a granule, and gives unused ones back where they are in its way.
void Granules::make(std::size_t size, std::vector<Granule>* into) {
  while (budget_ != 0 && held() + size > budget_) {
    if (!releaseOne(size)) throw Failure(Code::failed, "cannot give unused memory back: " + driver_.lastError());
  }
  Granule g{0, size, 0};
  Code code = driver_.create(&g.handle, size);
  while (code == Code::noMemory && releaseOne(size)) code = driver_.create(&g.handle, size);
  check(driver_, code, "get memory from the device");
  if (code = settle(&g); code != Code::ok) {
    const std::string why = driver_.lastError();
    // A granule that cannot be given back either is kept, without a home: nobody
    // can use it, but it is counted.
    if (!release(&g)) {
      free_[0].push_back(g);
      unused_ += size;
    }
    throw Failure(code, "cannot map new device memory: " + why);
  }
  into->push_back(g);
  used_ += size;
}

// settle gives a granule its home.
Code Granules::settle(Granule* granule) {
  Code code = driver_.reserve(&granule->home, granule->bytes);
  if (code != Code::ok) {
    granule->home = 0;
    return code;
  }
  code = driver_.map(granule->home, granule->bytes, granule->handle);
  if (code != Code::ok) {
    // Addresses that the driver does not take back are lost, but they are no memory.
    (void)driver_.unreserve(granule->home, granule->bytes);
    granule->home = 0;
    return code;
  }
  return driver_.allow(granule->home, granule->bytes);
}

// release gives a granule back to the driver. After a failure it is as far as it
// came: without a home it is of no use but to be released.
bool Granules::release(Granule* granule) {
  if (granule->home != 0) {
    if (driver_.unmap(granule->home, granule->bytes) != Code::ok) return false;
    (void)driver_.unreserve(granule->home, granule->bytes);
    granule->home = 0;
  }
  return driver_.release(granule->handle) == Code::ok;
}

// releaseOne gives an unused granule back: one that suffices for what is wanted, or
// the largest. False: there is none that the driver takes.
bool Granules::releaseOne(std::size_t wanted) {
  if (unused_ == 0 || !unmapAll_()) return false;
  std::vector<std::size_t> order(sizes_.rbegin(), sizes_.rend());  // ascending
  const auto suffices = std::lower_bound(order.begin(), order.end(), wanted);
  std::reverse(order.begin(), suffices);
  std::rotate(order.begin(), suffices, order.end());
  order.push_back(0);  // those without a home
  for (std::size_t size : order) {
    std::vector<Granule>& list = free_[size];
    if (list.empty()) continue;
    const Granule granule = list.back();
    list.pop_back();
    Granule rest = granule;
    if (release(&rest)) {
      unused_ -= granule.bytes;
      return true;
    }
    // Still ours, and still counted.
    free_[rest.home != 0 ? size : 0].push_back(rest);
  }
  return false;
}

void Granules::give(const std::vector<Granule>& granules) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Granule& g : granules) {
    free_[g.bytes].push_back(g);
    used_ -= g.bytes;
    unused_ += g.bytes;
  }
}

void Granules::claim(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  requireRoom(bytes);
  while (budget_ != 0 && held() + bytes > budget_ && releaseOne(bytes)) {
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
  while (releaseOne(0)) {
  }
}

void Granules::setBudget(std::size_t bytes) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  budget_ = bytes;
  giveWay();
}

std::size_t Granules::budget() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return budget_;
}

void Granules::setTaken(std::size_t bytes) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  taken_ = bytes;
  giveWay();
}

void Granules::lend(std::int64_t bytes) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  lent_ += std::size_t(bytes);
  giveWay();
}

// giveWay keeps no more than the budget allows. Without one nobody can tell what is
// in the way of whom: then nothing is kept as long as something is lent.
void Granules::giveWay() noexcept {
  while ((budget_ != 0 ? held() > budget_ : lent_ != 0) && releaseOne(0)) {
  }
}

// The lock keeps granules from being made between the driver's answer and ours.
Code Granules::outside(std::size_t* bytes) const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::size_t free = 0, total = 0;
  if (Code code = driver_.memory(&free, &total); code != Code::ok) return code;
  const std::size_t given = total - free;
  *bytes = given - std::min(given, used_ + unused_);
  return Code::ok;
}

Granules::Count Granules::count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return {used_, unused_};
}

}  // namespace gpushim
