#include "driver.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace gpushim {

namespace {

constexpr int kPoisonNew = 0xcd, kPoisonUnmapped = 0xdb;

thread_local std::string lastErrorText;

// A misuse that the real driver would let pass, or answer with a crash later.
[[noreturn]] void misuse(const char* what) {
  std::fprintf(stderr, "driver double: %s\n", what);
  std::abort();
}

void must(bool ok, const char* what) {
  if (!ok) misuse(what);
}

bool overlap(Address a, std::size_t an, Address b, std::size_t bn) { return a < b + bn && b < a + an; }

Code failWith(Code code, const char* call) {
  lastErrorText = std::string(call) + ": " + (code == Code::noMemory ? "out of memory" : code == Code::lost ? "device lost" : "failed");
  return code;
}

// fill writes one byte all over physical memory.
void fill(int fd, std::size_t bytes, int value) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED) misuse("the host cannot map");
  std::memset(p, value, bytes);
  munmap(p, bytes);
}

char* pointer(Address at) { return reinterpret_cast<char*>(at); }

}  // namespace

DoubleDriver::DoubleDriver(DoubleOptions options) : options_(std::move(options)) {}

DoubleDriver::~DoubleDriver() {
  while (!queues_.empty()) (void)destroyStream(queues_.begin()->first);
  for (auto& r : reservations_) munmap(pointer(r.first), r.second);
  for (auto& p : physical_) close(p.second.fd);
  for (auto& m : mappings_) {
    if (m.second.handle == 0) munmap(pointer(m.first), pageRound(m.second.bytes));
  }
  for (auto& h : host_) std::free(h.first);
}

std::string DoubleDriver::lastError() const { return lastErrorText; }

std::size_t DoubleDriver::pageRound(std::size_t n) const { return (n + 4095) / 4096 * 4096; }

Code DoubleDriver::begin(const char* call) {
  Code code = options_.fault ? options_.fault(call) : Code::ok;
  std::unique_lock<std::mutex> lock(mutex_);
  lost_ = lost_ || code == Code::lost;
  if (lost_) {
    code = Code::lost;
    // On a device that is lost nothing runs any more.
    changed_.wait(lock, [&] {
      for (const auto& q : queues_) {
        if (!q.second->operations.empty()) return false;
      }
      return true;
    });
  }
  return code == Code::ok ? code : failWith(code, call);
}

// answer is for calls that wait: the device may be lost by now, and what they
// waited for was not run then. The lock is held.
Code DoubleDriver::answer(const char* call) const { return lost_ ? failWith(Code::lost, call) : Code::ok; }

Code DoubleDriver::enter() { return begin("enter"); }

DoubleDriver::Held DoubleDriver::held() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return held_;
}

Code DoubleDriver::memory(std::size_t* free, std::size_t* total) {
  if (Code c = begin("memory"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  *total = options_.memory;
  *free = options_.memory - std::min(options_.memory, taken());
  return Code::ok;
}

std::size_t DoubleDriver::taken() const {
  const std::size_t step = options_.hiddenStep;
  return held_.physical + held_.plain + (held_.hidden + step - 1) / step * step;
}

void DoubleDriver::hide(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  held_.hidden += bytes;
}

void DoubleDriver::unhide(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  held_.hidden -= bytes;
}

Code DoubleDriver::reserve(Address* base, std::size_t bytes) {
  if (Code c = begin("reserve"); c != Code::ok) return c;
  must(bytes > 0 && bytes % options_.granularity == 0, "reserved bytes are not a multiple of the granularity");
  void* p = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return failWith(Code::noMemory, "reserve");
  std::lock_guard<std::mutex> lock(mutex_);
  *base = reinterpret_cast<Address>(p);
  reservations_[*base] = bytes;
  held_.reservations++;
  return Code::ok;
}

Code DoubleDriver::unreserve(Address base, std::size_t bytes) {
  if (Code c = begin("unreserve"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = reservations_.find(base);
  must(it != reservations_.end() && it->second == bytes, "what was never reserved is unreserved");
  for (const auto& m : mappings_) must(!overlap(m.first, m.second.bytes, base, bytes), "unreserved while mapped");
  munmap(pointer(base), bytes);
  reservations_.erase(it);
  held_.reservations--;
  return Code::ok;
}

Code DoubleDriver::create(Handle* handle, std::size_t bytes) {
  if (Code c = begin("create"); c != Code::ok) return c;
  must(bytes > 0 && bytes % options_.granularity == 0, "created bytes are not a multiple of the granularity");
  std::lock_guard<std::mutex> lock(mutex_);
  if (taken() + bytes > options_.memory) return failWith(Code::noMemory, "create");
  const int fd = memfd_create("device memory", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, off_t(bytes)) != 0) misuse("the host has no memory for the double");
  *handle = nextHandle_++;
  physical_[*handle] = {fd, bytes, 0};
  fill(fd, bytes, kPoisonNew);
  held_.physical += bytes;
  return Code::ok;
}

Code DoubleDriver::release(Handle handle) {
  if (Code c = begin("release"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = physical_.find(handle);
  must(it != physical_.end(), "unknown memory is released");
  must(it->second.mappings == 0, "memory is released while it is mapped");
  close(it->second.fd);
  held_.physical -= it->second.bytes;
  physical_.erase(it);
  return Code::ok;
}

Code DoubleDriver::map(Address at, std::size_t bytes, Handle handle) {
  if (Code c = begin("map"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = physical_.find(handle);
  must(it != physical_.end() && it->second.bytes == bytes, "unknown memory is mapped");
  auto space = reservations_.upper_bound(at);
  must(space != reservations_.begin(), "mapped outside of what is reserved");
  --space;
  must(at + bytes <= space->first + space->second, "mapped outside of what is reserved");
  must((at - space->first) % options_.granularity == 0, "mapped at an odd address");
  for (const auto& m : mappings_) must(!overlap(m.first, m.second.bytes, at, bytes), "mapped over another mapping");
  void* p = mmap(pointer(at), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, it->second.fd, 0);
  if (p == MAP_FAILED) misuse("the host cannot map");
  mprotect(p, bytes, PROT_NONE);
  it->second.mappings++;
  mappings_[at] = {bytes, handle, false};
  return Code::ok;
}

Code DoubleDriver::allow(Address at, std::size_t bytes) {
  if (Code c = begin("allow"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  const Address end = at + bytes;
  for (auto it = mappings_.find(at); at < end; ++it) {
    must(it != mappings_.end() && it->first == at, "what is not mapped is made accessible");
    mprotect(pointer(at), it->second.bytes, PROT_READ | PROT_WRITE);
    it->second.allowed = true;
    at += it->second.bytes;
  }
  must(at == end, "a part of a mapping is made accessible");
  return Code::ok;
}

Code DoubleDriver::unmap(Address at, std::size_t bytes) {
  if (Code c = begin("unmap"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  mustBeIdle(at, bytes, "memory is unmapped while something in flight touches it");
  auto it = mappings_.find(at);
  must(it != mappings_.end() && it->second.handle != 0, "what is not mapped is unmapped");
  for (Address end = at + bytes; it != mappings_.end() && it->first < end;) {
    must(it->first + it->second.bytes <= end, "a part of a mapping is unmapped");
    Physical& memory = physical_[it->second.handle];
    if (--memory.mappings == 0) fill(memory.fd, memory.bytes, kPoisonUnmapped);
    it = mappings_.erase(it);
  }
  void* p = mmap(pointer(at), bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (p == MAP_FAILED) misuse("the host cannot unmap");
  return Code::ok;
}

Code DoubleDriver::alloc(Address* base, std::size_t bytes) {
  if (Code c = begin("alloc"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  if (taken() + bytes > options_.memory) return failWith(Code::noMemory, "alloc");
  void* p = mmap(nullptr, pageRound(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) misuse("the host has no memory for the double");
  std::memset(p, kPoisonNew, bytes);
  *base = reinterpret_cast<Address>(p);
  mappings_[*base] = {bytes, 0, true};
  held_.plain += bytes;
  return Code::ok;
}

Code DoubleDriver::free(Address base) {
  if (Code c = begin("free"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = mappings_.find(base);
  must(it != mappings_.end() && it->second.handle == 0, "what was never allocated is freed");
  mustBeIdle(base, it->second.bytes, "memory is freed while something in flight touches it");
  munmap(pointer(base), pageRound(it->second.bytes));
  held_.plain -= it->second.bytes;
  mappings_.erase(it);
  return Code::ok;
}

Code DoubleDriver::allocHost(void** memory, std::size_t bytes) {
  if (Code c = begin("allocHost"); c != Code::ok) return c;
  char* p = static_cast<char*>(std::malloc(bytes));
  if (p == nullptr) return failWith(Code::noMemory, "allocHost");
  std::lock_guard<std::mutex> lock(mutex_);
  host_[p] = bytes;
  held_.host += bytes;
  *memory = p;
  return Code::ok;
}

// forget checks that no copy uses pinned memory, and strikes it out.
void DoubleDriver::forget(std::map<char*, std::size_t>* from, void* memory) {
  auto it = from->find(static_cast<char*>(memory));
  must(it != from->end(), "what was never pinned is freed");
  for (const auto& q : queues_) {
    for (const Operation& o : q.second->operations) {
      must(o.host < it->first || o.host >= it->first + it->second, "pinned memory is freed while a copy uses it");
    }
  }
  from->erase(it);
}

Code DoubleDriver::freeHost(void* memory) {
  if (Code c = begin("freeHost"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t bytes = host_[static_cast<char*>(memory)];
  forget(&host_, memory);
  held_.host -= bytes;
  std::free(memory);
  return Code::ok;
}

Code DoubleDriver::pinHost(void* memory, std::size_t bytes) {
  if (Code c = begin("pinHost"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  const Address at = reinterpret_cast<Address>(memory);
  for (const auto& p : pinned_) {
    if (overlap(reinterpret_cast<Address>(p.first), p.second, at, bytes)) return failWith(Code::failed, "pinHost");
  }
  pinned_[static_cast<char*>(memory)] = bytes;
  held_.pinned++;
  return Code::ok;
}

Code DoubleDriver::unpinHost(void* memory) {
  if (Code c = begin("unpinHost"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  forget(&pinned_, memory);
  held_.pinned--;
  return Code::ok;
}

}  // namespace gpushim
