// Weights on their way to a device.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "driver.h"

namespace gpushim {

// Transfers puts the copies of models into one stream, model by model, in the
// order in which they come: two that share the wire would both be late. So that
// the wire is never idle, the next ones are in the stream while the first is
// copied; the others wait outside, and hold nothing meanwhile.
class Transfers {
 public:
  // most: how many models may be in the stream at a time, at least 1.
  Transfers(Driver& driver, unsigned most) : driver_(driver), most_(most), stream_(driver) {}

  // Piece is one copy.
  struct Piece {
    Address to;
    const char* from;
    std::size_t bytes;
  };

  // Ticket is a model's place in the stream, from send until it goes. done is
  // recorded behind the copies.
  class Ticket {
   public:
    // Waits for the turn, and puts the copies into the stream. After a Failure
    // some may be there.
    Ticket(Transfers& transfers, const std::vector<Piece>& pieces, Event done);
    ~Ticket();
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;
    bool isDone();
    void wait();

   private:
    void send(const std::vector<Piece>& pieces);
    void learn();
    Transfers& transfers_;
    const Event done_;
    std::size_t bytes_ = 0;
    bool alone_ = false;  // in the stream when it was sent
    std::chrono::steady_clock::time_point sent_, expected_;
  };

  // Whether the wire is busy now: what else goes to the device by the copy engine
  // waits until it is not.
  bool busy() const { return inside_.load(std::memory_order_relaxed) > 0; }
  Stream stream() const { return stream_.get(); }
  std::size_t waiting() const;  // models that wait for their turn

 private:
  Driver& driver_;
  const unsigned most_;
  OwnedStream stream_;

  mutable std::mutex mutex_;  // held while copies are put into the stream
  std::condition_variable left_;
  std::uint64_t arrived_ = 0, entered_ = 0;  // models
  std::atomic<unsigned> inside_{0};
  std::chrono::steady_clock::time_point busyUntil_;  // as expected
  double bytesPerSecond_ = 0;                        // the most that was seen; 0: nothing yet
};

}  // namespace gpushim
