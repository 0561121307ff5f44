// The part of the CUDA driver that everything here uses, as an interface: the
// double in double/ takes its place in tests. No CUDA header is needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "gpushim.h"

namespace gpushim {

// What a call came to. The values are those of the C table.
enum class Code : int {
  ok = GPUSHIM_OK,
  noMemory = GPUSHIM_NO_MEMORY,
  lost = GPUSHIM_DEVICE_LOST,
  badModel = GPUSHIM_BAD_MODEL,
  badInput = GPUSHIM_BAD_INPUT,
  unavailable = GPUSHIM_UNAVAILABLE,
  failed = GPUSHIM_FAILED,
};

// What is thrown inside; the C table turns it into a code and a message.
class Failure : public std::runtime_error {
 public:
  Failure(Code code, const std::string& what) : std::runtime_error(what), code(code) {}
  const Code code;
};

using Address = std::uint64_t;  // of device memory
using Handle = std::uint64_t;   // of physical device memory
using Stream = void*;
using Event = void*;

// Driver is one device with its context. Its methods may be called from any
// thread and at the same time. None throws.
class Driver {
 public:
  virtual ~Driver() = default;

  // Makes the device's context the calling thread's. Everything else wants that.
  [[nodiscard]] virtual Code enter() = 0;
  // What the driver said about the last call of this thread that failed.
  virtual std::string lastError() const = 0;

  // Virtual memory: addresses are reserved once, physical memory is created and
  // mapped there. Sizes and addresses are multiples of granularity().
  virtual std::size_t granularity() const = 0;
  [[nodiscard]] virtual Code reserve(Address* base, std::size_t bytes) = 0;
  // One piece of physical memory may be mapped at several addresses. What is
  // written through one is seen through another by operations that begin after the
  // writing one has ended.
  [[nodiscard]] virtual Code unreserve(Address base, std::size_t bytes) = 0;
  [[nodiscard]] virtual Code create(Handle* handle, std::size_t bytes) = 0;
  [[nodiscard]] virtual Code release(Handle handle) = 0;
  [[nodiscard]] virtual Code map(Address at, std::size_t bytes, Handle handle) = 0;
  [[nodiscard]] virtual Code allow(Address at, std::size_t bytes) = 0;  // makes mappings accessible
  [[nodiscard]] virtual Code unmap(Address at, std::size_t bytes) = 0;  // whole mappings only

  // Plain memory, for devices without the above.
  [[nodiscard]] virtual Code alloc(Address* base, std::size_t bytes) = 0;
  [[nodiscard]] virtual Code free(Address base) = 0;

  [[nodiscard]] virtual Code allocHost(void** memory, std::size_t bytes) = 0;  // pinned
  [[nodiscard]] virtual Code freeHost(void* memory) = 0;
  // Pins memory that somebody else made, for all devices.
  [[nodiscard]] virtual Code pinHost(void* memory, std::size_t bytes) = 0;
  [[nodiscard]] virtual Code unpinHost(void* memory) = 0;

  // Streams run what is put into them in order; the host must leave the memory of
  // a copy alone until it is done.
  [[nodiscard]] virtual Code createStream(Stream* stream) = 0;
  [[nodiscard]] virtual Code destroyStream(Stream stream) = 0;
  [[nodiscard]] virtual Code copyIn(Address to, const void* from, std::size_t bytes, Stream stream) = 0;
  [[nodiscard]] virtual Code copyOut(void* to, Address from, std::size_t bytes, Stream stream) = 0;
  // As copyIn, by the processors of the device: its copy engine serves streams one
  // after the other, and another stream may have filled it for milliseconds. Both
  // addresses are multiples of 16. Only where pulls().
  virtual bool pulls() const = 0;
  [[nodiscard]] virtual Code pull(Address to, const void* from, std::size_t bytes, Stream stream) = 0;
  [[nodiscard]] virtual Code zero(Address at, std::size_t bytes, Stream stream) = 0;
  [[nodiscard]] virtual Code createEvent(Event* event) = 0;
  [[nodiscard]] virtual Code destroyEvent(Event event) = 0;
  [[nodiscard]] virtual Code record(Event event, Stream stream) = 0;
  // Whether what was before the event is done; true if it was never recorded.
  [[nodiscard]] virtual Code isDone(Event event, bool* done) = 0;
  [[nodiscard]] virtual Code waitStream(Stream stream) = 0;
  [[nodiscard]] virtual Code waitAll() = 0;              // everything put into any stream so far

  [[nodiscard]] virtual Code memory(std::size_t* free, std::size_t* total) = 0;
};

// Throws where code is not ok. doing completes "cannot …".
inline void check(const Driver& driver, Code code, const char* doing) {
  if (code != Code::ok) throw Failure(code, std::string("cannot ") + doing + ": " + driver.lastError());
}

// OwnedStream and OwnedEvent give back what they made.
class OwnedStream {
 public:
  explicit OwnedStream(Driver& driver) : driver_(driver) {
    check(driver, driver.createStream(&stream_), "create a stream");
  }
  ~OwnedStream() { (void)driver_.destroyStream(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  Stream get() const { return stream_; }

 private:
  Driver& driver_;
  Stream stream_ = nullptr;
};

class OwnedEvent {
 public:
  explicit OwnedEvent(Driver& driver) : driver_(driver) {
    check(driver, driver.createEvent(&event_), "create an event");
  }
  ~OwnedEvent() { (void)driver_.destroyEvent(event_); }
  OwnedEvent(const OwnedEvent&) = delete;
  OwnedEvent& operator=(const OwnedEvent&) = delete;
  Event get() const { return event_; }

 private:
  Driver& driver_;
  Event event_ = nullptr;
};

}  // namespace gpushim
