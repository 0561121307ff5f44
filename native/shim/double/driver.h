// A double of the CUDA driver that keeps device memory in host memory. It does
// what the driver does, asynchronously and with real addresses, and it is strict
// where the driver is silent: touching what is not mapped, unmapping what
// something in flight touches, two streams writing to one place (at whatever
// addresses they see it) and copies from memory that is not pinned end the program
// with a message.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "../driver.h"

namespace gpushim {

struct DoubleOptions {
  std::size_t memory = 64 << 20;
  std::size_t granularity = 64 << 10;
  // What a program takes without anybody asking for it: with its code, with what it
  // needs to run, and at its eighth run; in steps of so many bytes for all together.
  std::size_t hiddenCode = 0, hiddenContext = 0, hiddenRecording = 0, hiddenStep = 1;
  // Asked before each call, by the call's name; anything but ok is what the call
  // returns then, without effect. lost is for good.
  std::function<Code(const char* call)> fault;
};

// Touch is device memory that an operation reads or writes.
struct Touch {
  Address at;
  std::size_t bytes;
  bool writes;
};

// Span is a part of physical memory that a Touch comes to.
struct Span {
  Handle handle;  // 0: plain memory
  Address begin;  // in the physical memory; of plain memory the address
  std::size_t bytes;
  bool writes;
};

class DoubleDriver : public Driver {
 public:
  explicit DoubleDriver(DoubleOptions options);
  ~DoubleDriver() override;

  // Puts a kernel into a stream.
  [[nodiscard]] Code launch(Stream stream, std::vector<Touch> touches, std::function<void()> kernel);

  // Takes memory as the driver does for itself. Nothing fails for want of it.
  void hide(std::size_t bytes);
  void unhide(std::size_t bytes);
  const DoubleOptions& options() const { return options_; }

  // What is held, in bytes or pieces; all zero once everything was given back.
  struct Held {
    std::size_t physical = 0, plain = 0, host = 0, hidden = 0, pinned = 0, reservations = 0, streams = 0, events = 0;
    bool nothing() const { return physical + plain + host + hidden + pinned + reservations + streams + events == 0; }
  };
  Held held() const;
  // Operations that are in the streams, running or waiting.
  std::size_t pending() const;

  Code enter() override;
  std::string lastError() const override;
  std::size_t granularity() const override { return options_.granularity; }
  Code reserve(Address* base, std::size_t bytes) override;
  Code unreserve(Address base, std::size_t bytes) override;
  Code create(Handle* handle, std::size_t bytes) override;
  Code release(Handle handle) override;
  Code map(Address at, std::size_t bytes, Handle handle) override;
  Code allow(Address at, std::size_t bytes) override;
  Code unmap(Address at, std::size_t bytes) override;
  Code alloc(Address* base, std::size_t bytes) override;
  Code free(Address base) override;
  Code allocHost(void** memory, std::size_t bytes) override;
  Code freeHost(void* memory) override;
  Code pinHost(void* memory, std::size_t bytes) override;
  Code unpinHost(void* memory) override;
  Code createStream(Stream* stream) override;
  Code destroyStream(Stream stream) override;
  Code copyIn(Address to, const void* from, std::size_t bytes, Stream stream) override;
  Code copyOut(void* to, Address from, std::size_t bytes, Stream stream) override;
  bool pulls() const override { return true; }
  Code pull(Address to, const void* from, std::size_t bytes, Stream stream) override;
  Code zero(Address at, std::size_t bytes, Stream stream) override;
  Code createEvent(Event* event) override;
  Code destroyEvent(Event event) override;
  Code record(Event event, Stream stream) override;
  Code isDone(Event event, bool* done) override;
  Code waitStream(Stream stream) override;
  Code waitAll() override;
  Code memory(std::size_t* free, std::size_t* total) override;

 private:
  struct Physical {
    int fd;
    std::size_t bytes;
    unsigned mappings;
  };
  struct Mapping {
    std::size_t bytes;
    Handle handle;  // 0: plain memory
    bool allowed;
  };
  struct Operation {
    std::vector<Touch> touches;
    std::vector<Span> spans;     // what they come to, when the operation is put into its stream
    const char* host = nullptr;  // pinned memory of a copy
    std::size_t hostBytes = 0;
    std::function<void()> run;
  };
  struct Queue {
    std::deque<Operation> operations;  // the first is being run
    std::size_t put = 0, done = 0;
    bool closing = false;
    std::thread thread;
  };
  struct Mark {  // an event
    Queue* queue = nullptr;
    std::size_t at = 0;
  };

  Code begin(const char* call);
  Code answer(const char* call) const;
  Code put(Stream stream, Operation operation);
  Code copy(Touch device, const void* host, std::function<void()> run, Stream stream);
  void forget(std::map<char*, std::size_t>* from, void* memory);
  std::vector<Span> spansOf(const std::vector<Touch>& touches) const;
  bool pinned(const char* host, std::size_t bytes) const;
  void work(Queue* queue);
  void checkTouches(const Operation& operation) const;
  void checkRaces(const Queue* own, const Operation& operation) const;
  bool accessible(Address at, std::size_t bytes) const;
  void mustBeIdle(Address at, std::size_t bytes, const char* what) const;
  bool passed(const Mark& mark) const { return mark.queue == nullptr || mark.queue->done >= mark.at; }
  std::size_t taken() const;
  std::size_t pageRound(std::size_t n) const;

  const DoubleOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool lost_ = false;
  Held held_;
  Handle nextHandle_ = 1;
  std::map<Address, std::size_t> reservations_;
  std::map<Handle, Physical> physical_;
  std::map<Address, Mapping> mappings_;
  std::map<char*, std::size_t> host_, pinned_;  // our memory, and that of callers
  std::map<Queue*, std::unique_ptr<Queue>> queues_;
  std::map<Mark*, std::unique_ptr<Mark>> marks_;
};

}  // namespace gpushim
