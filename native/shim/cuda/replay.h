// Runs that are recorded once and replayed: one call of the driver instead of one
// for each kernel, which takes most of a small model's time on a fast GPU.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "driver.h"

namespace gpushim {

// Replay records one program's run once several were the same. TensorRT allows a
// recording to be replayed only until its context is changed. A recording takes
// some kilobytes of the device for each kernel, so there are as many as the
// device's counter allows. It knows addresses only, so it stays while the weights
// are gone, as long as there is no shortage.
class Replay {
 public:
  Replay(CudaDriver& driver, std::atomic<int>& left) : driver_(driver), left_(left) {}
  ~Replay() { clear(); }
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  // What a run depends on, beside the stream: addresses and shapes.
  using Key = std::vector<std::int64_t>;

  // Puts a run into the stream: replays it, or has enqueue do it, which returns
  // false where it fails.
  template <typename F>
  bool run(Stream stream, const Key& key, F enqueue) {
    if (stream != stream_ || key != key_) {
      clear();
      stream_ = stream;
      key_ = key;
    }
    if (graph_ == nullptr && ++runs_ == kRunsBefore) record(enqueue);
    if (graph_ == nullptr) return enqueue();
    check(driver_, driver_.replay(graph_, stream), "replay a run");
    return true;
  }
  // The context changes.
  void clear() noexcept;
  void rest() noexcept {
    if (left_ <= 0) clear();
  }

 private:
  static constexpr int kRunsBefore = 8;

  bool reserve();

  // record leaves no recording where that is not possible: a model may do things
  // that only make sense at once.
  template <typename F>
  void record(F enqueue) {
    std::unique_lock<std::shared_mutex> lock(driver_.recordingLock(), std::try_to_lock);
    if (!lock || !reserve()) {
      runs_ = 0;  // not now
      return;
    }
    Code code = driver_.beginRecording(stream_);
    if (code == Code::ok) {
      const bool recorded = enqueue();
      code = driver_.endRecording(stream_, &graph_);
      if (!recorded && code == Code::ok) {
        driver_.drop(graph_);
        code = Code::failed;
      }
    }
    if (code == Code::ok) return;
    graph_ = nullptr;
    left_++;
  }

  CudaDriver& driver_;
  std::atomic<int>& left_;
  Stream stream_ = nullptr;
  Key key_;
  int runs_ = 0;
  CUgraphExec graph_ = nullptr;
};

}  // namespace gpushim
