#include "transfers.h"

#include <algorithm>
#include <thread>

#include "phase.h"

namespace gpushim {

namespace {
using Clock = std::chrono::steady_clock;

// A thread that sleeps until then wakes up this much later at worst; for the rest
// of the time it asks the driver. An event that wakes the thread costs 70
// microseconds, and one that is waited for in the driver slows down other threads'
// launches (measured on an H200).
constexpr auto kOversleep = std::chrono::microseconds(200);
// Below this many bytes the time says little about the wire.
constexpr std::size_t kTelling = 8 << 20;
}  // namespace

std::size_t Transfers::waiting() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::size_t(arrived_ - entered_);
}

Transfers::Ticket::Ticket(Transfers& transfers, const std::vector<Piece>& pieces, Event done)
    : transfers_(transfers), done_(done) {
  std::unique_lock<std::mutex> lock(transfers.mutex_);
  {
    const Phase phase("queue");
    const std::uint64_t turn = transfers.arrived_++;
    transfers.left_.wait(lock, [&] { return transfers.entered_ == turn && transfers.inside_ < transfers.most_; });
  }
  transfers.entered_++;
  alone_ = transfers.inside_++ == 0;
  transfers.left_.notify_all();  // there may be room for the next one
  try {
    send(pieces);
  } catch (...) {
    transfers.inside_--;
    transfers.left_.notify_all();
    throw;
  }
}

void Transfers::Ticket::send(const std::vector<Piece>& pieces) {
  Driver& driver = transfers_.driver_;
  const Stream stream = transfers_.stream();
  sent_ = Clock::now();
  for (const Piece& p : pieces) {
    check(driver, driver.copyIn(p.to, p.from, p.bytes, stream), "copy the weights");
    bytes_ += p.bytes;
  }
  check(driver, driver.record(done_, stream), "record an event");
  expected_ = sent_;
  if (transfers_.bytesPerSecond_ == 0) return;
  const std::chrono::duration<double> takes(double(bytes_) / transfers_.bytesPerSecond_);
  transfers_.busyUntil_ =
      std::max(transfers_.busyUntil_, sent_) + std::chrono::duration_cast<Clock::duration>(takes);
  expected_ = transfers_.busyUntil_;
}

Transfers::Ticket::~Ticket() {
  std::lock_guard<std::mutex> lock(transfers_.mutex_);
  transfers_.inside_--;
  transfers_.left_.notify_all();
}

bool Transfers::Ticket::isDone() {
  bool done = false;
  check(transfers_.driver_, transfers_.driver_.isDone(done_, &done), "copy the weights");
  return done;
}

void Transfers::Ticket::wait() {
  std::this_thread::sleep_until(expected_ - kOversleep);
  while (!isDone()) std::this_thread::yield();
  if (alone_ && bytes_ >= kTelling) learn();
}

// learn takes the fastest copy for what the wire can do, so that nobody sleeps for
// too long.
void Transfers::Ticket::learn() {
  const double seconds = std::chrono::duration<double>(Clock::now() - sent_).count();
  std::lock_guard<std::mutex> lock(transfers_.mutex_);
  if (seconds > 0) transfers_.bytesPerSecond_ = std::max(transfers_.bytesPerSecond_, double(bytes_) / seconds);
}

}  // namespace gpushim
