// The double's streams and events: a thread for each stream.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"

namespace gpushim {

namespace {

[[noreturn]] void misuse(const char* what) {
  std::fprintf(stderr, "driver double: %s\n", what);
  std::abort();
}

bool overlap(Address a, std::size_t an, Address b, std::size_t bn) { return a < b + bn && b < a + an; }

}  // namespace

Code DoubleDriver::createStream(Stream* stream) {
  if (Code c = begin("createStream"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto queue = std::make_unique<Queue>();
  Queue* q = queue.get();
  q->thread = std::thread([this, q] { work(q); });
  queues_[q] = std::move(queue);
  held_.streams++;
  *stream = q;
  return Code::ok;
}

// Ends the thread even where the device is lost: the host goes on.
Code DoubleDriver::destroyStream(Stream stream) {
  const Code code = begin("destroyStream");
  std::unique_ptr<Queue> queue;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    auto it = queues_.find(static_cast<Queue*>(stream));
    if (it == queues_.end()) misuse("an unknown stream is destroyed");
    it->second->closing = true;
    changed_.notify_all();
    Queue* q = it->second.get();
    changed_.wait(lock, [&] { return q->operations.empty(); });
    queue = std::move(it->second);
    queues_.erase(it);
    for (auto& m : marks_) {
      if (m.second->queue == q) m.second->queue = nullptr;
    }
    held_.streams--;
  }
  queue->thread.join();
  return code;
}

std::size_t DoubleDriver::pending() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::size_t n = 0;
  for (const auto& q : queues_) n += q.second->operations.size();
  return n;
}

void DoubleDriver::work(Queue* queue) {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return queue->closing || !queue->operations.empty(); });
    if (queue->operations.empty()) return;
    Operation& operation = queue->operations.front();
    checkTouches(operation);
    if (operation.run && !lost_) {
      lock.unlock();
      operation.run();
      lock.lock();
    }
    queue->operations.pop_front();
    queue->done++;
    changed_.notify_all();
  }
}

Code DoubleDriver::put(Stream stream, Operation operation) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto it = queues_.find(static_cast<Queue*>(stream));
  if (it == queues_.end()) misuse("something is put into an unknown stream");
  checkTouches(operation);
  operation.spans = spansOf(operation.touches);
  checkRaces(it->first, operation);
  it->second->operations.push_back(std::move(operation));
  it->second->put++;
  changed_.notify_all();
  return Code::ok;
}

void DoubleDriver::checkTouches(const Operation& operation) const {
  for (const Touch& t : operation.touches) {
    if (!accessible(t.at, t.bytes)) misuse("an operation touches memory that is not mapped");
  }
  if (operation.hostBytes == 0) return;
  if (!pinned(operation.host, operation.hostBytes)) misuse("a copy uses host memory that is not pinned");
}

bool DoubleDriver::pinned(const char* host, std::size_t bytes) const {
  for (const auto* all : {&host_, &pinned_}) {
    auto it = all->upper_bound(const_cast<char*>(host));
    if (it == all->begin()) continue;
    --it;
    if (host + bytes <= it->first + it->second) return true;
  }
  return false;
}

// spansOf finds the physical memory that is mapped where an operation touches.
std::vector<Span> DoubleDriver::spansOf(const std::vector<Touch>& touches) const {
  std::vector<Span> spans;
  for (const Touch& t : touches) {
    for (Address at = t.at, end = t.at + t.bytes; at < end;) {
      auto it = std::prev(mappings_.upper_bound(at));
      const std::size_t n = std::min(end, it->first + it->second.bytes) - at;
      spans.push_back({it->second.handle, it->second.handle == 0 ? at : at - it->first, n, t.writes});
      at += n;
    }
  }
  return spans;
}

// checkRaces looks for operations of other streams that would have to be ordered
// with this one.
void DoubleDriver::checkRaces(const Queue* own, const Operation& operation) const {
  for (const auto& q : queues_) {
    if (q.first == own) continue;
    for (const Operation& other : q.second->operations) {
      for (const Span& a : operation.spans) {
        for (const Span& b : other.spans) {
          const bool same = a.handle == b.handle && overlap(a.begin, a.bytes, b.begin, b.bytes);
          if (same && (a.writes || b.writes)) misuse("two streams race for memory");
        }
      }
    }
  }
}

bool DoubleDriver::accessible(Address at, std::size_t bytes) const {
  for (const Address end = at + bytes; at < end;) {
    auto it = mappings_.upper_bound(at);
    if (it == mappings_.begin()) return false;
    --it;
    if (it->first + it->second.bytes <= at || !it->second.allowed) return false;
    at = it->first + it->second.bytes;
  }
  return true;
}

void DoubleDriver::mustBeIdle(Address at, std::size_t bytes, const char* what) const {
  for (const auto& q : queues_) {
    for (const Operation& o : q.second->operations) {
      for (const Touch& t : o.touches) {
        if (overlap(t.at, t.bytes, at, bytes)) misuse(what);
      }
    }
  }
}

Code DoubleDriver::launch(Stream stream, std::vector<Touch> touches, std::function<void()> kernel) {
  if (Code c = begin("launch"); c != Code::ok) return c;
  Operation o;
  o.touches = std::move(touches);
  o.run = std::move(kernel);
  return put(stream, std::move(o));
}

Code DoubleDriver::copy(Touch device, const void* host, std::function<void()> run, Stream stream) {
  Operation o;
  o.touches = {device};
  o.host = static_cast<const char*>(host);
  o.hostBytes = device.bytes;
  o.run = std::move(run);
  return put(stream, std::move(o));
}

Code DoubleDriver::copyIn(Address to, const void* from, std::size_t bytes, Stream stream) {
  if (Code c = begin("copyIn"); c != Code::ok) return c;
  return copy({to, bytes, true}, from, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); }, stream);
}

Code DoubleDriver::copyOut(void* to, Address from, std::size_t bytes, Stream stream) {
  if (Code c = begin("copyOut"); c != Code::ok) return c;
  return copy({from, bytes, false}, to, [=] { std::memcpy(to, reinterpret_cast<const void*>(from), bytes); }, stream);
}

Code DoubleDriver::pull(Address to, const void* from, std::size_t bytes, Stream stream) {
  if (Code c = begin("pull"); c != Code::ok) return c;
  if ((to | reinterpret_cast<Address>(from)) % 16 != 0) misuse("odd addresses are pulled");
  return copy({to, bytes, true}, from, [=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); }, stream);
}

Code DoubleDriver::zero(Address at, std::size_t bytes, Stream stream) {
  if (Code c = begin("zero"); c != Code::ok) return c;
  Operation o;
  o.touches = {{at, bytes, true}};
  o.run = [=] { std::memset(reinterpret_cast<void*>(at), 0, bytes); };
  return put(stream, std::move(o));
}

Code DoubleDriver::createEvent(Event* event) {
  if (Code c = begin("createEvent"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  auto mark = std::make_unique<Mark>();
  *event = mark.get();
  marks_[mark.get()] = std::move(mark);
  held_.events++;
  return Code::ok;
}

Code DoubleDriver::destroyEvent(Event event) {
  const Code code = begin("destroyEvent");
  std::lock_guard<std::mutex> lock(mutex_);
  if (marks_.erase(static_cast<Mark*>(event)) == 0) misuse("an unknown event is destroyed");
  held_.events--;
  return code;
}

Code DoubleDriver::record(Event event, Stream stream) {
  if (Code c = begin("record"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  Mark* mark = static_cast<Mark*>(event);
  mark->queue = static_cast<Queue*>(stream);
  mark->at = mark->queue->put;
  return Code::ok;
}

Code DoubleDriver::isDone(Event event, bool* done) {
  if (Code c = begin("isDone"); c != Code::ok) return c;
  std::lock_guard<std::mutex> lock(mutex_);
  *done = passed(*static_cast<Mark*>(event));
  return answer("isDone");
}

Code DoubleDriver::waitStream(Stream stream) {
  if (Code c = begin("waitStream"); c != Code::ok) return c;
  std::unique_lock<std::mutex> lock(mutex_);
  Queue* queue = static_cast<Queue*>(stream);
  const std::size_t at = queue->put;
  changed_.wait(lock, [&] { return queue->done >= at; });
  return answer("waitStream");
}

Code DoubleDriver::waitAll() {
  if (Code c = begin("waitAll"); c != Code::ok) return c;
  std::unique_lock<std::mutex> lock(mutex_);
  std::map<Queue*, std::size_t> until;
  for (auto& q : queues_) until[q.first] = q.second->put;
  changed_.wait(lock, [&] {
    for (auto& q : queues_) {
      auto it = until.find(q.first);
      if (it != until.end() && q.first->done < it->second) return false;
    }
    return true;
  });
  return answer("waitAll");
}

}  // namespace gpushim
