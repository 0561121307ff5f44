// Runs that are recorded once and replayed: one call of the driver instead of one
// for each kernel, which takes most of a small model's time on a fast GPU.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "driver.h"

namespace gpushim {

// Recordings are those of one program. Each takes some kilobytes of the device for
// each kernel, so only runs that come again and again are recorded, and as many as
// the device's counter allows. They know addresses only, so they stay while the
// weights are gone, as long as there is no shortage of them.
class Recordings {
 public:
  Recordings(CudaDriver& driver, std::atomic<int>& left) : driver_(driver), left_(left) {}
  ~Recordings() { clear(); }
  Recordings(const Recordings&) = delete;
  Recordings& operator=(const Recordings&) = delete;

  // What a run depends on, beside the stream: addresses and shapes.
  using Key = std::vector<std::int64_t>;

  // Puts a run into the stream: replays it, or has enqueue do it, which returns
  // false where it fails.
  template <typename F>
  bool run(Stream stream, const Key& key, F enqueue) {
    Entry& entry = find(stream, key);
    if (entry.recording == nullptr && ++entry.runs == kRunsBefore) record(entry, enqueue);
    if (entry.recording == nullptr) return enqueue();
    check(driver_, driver_.replay(entry.recording, stream), "replay a run");
    return true;
  }
  void clear() noexcept;
  void rest() noexcept {
    if (left_ <= 0) clear();
  }

 private:
  static constexpr int kRunsBefore = 8;
  static constexpr std::size_t kMost = 8;

  struct Entry {
    Stream stream;
    Key key;
    int runs = 0;
    CUgraphExec recording = nullptr;
  };

  Entry& find(Stream stream, const Key& key);
  void forget(Entry& entry) noexcept;
  bool reserve();

  // record leaves the entry without a recording where that is not possible: a
  // model may do things that only make sense at once.
  template <typename F>
  void record(Entry& entry, F enqueue) {
    std::unique_lock<std::shared_mutex> lock(driver_.recordingLock(), std::try_to_lock);
    if (!lock || !reserve()) {
      entry.runs = 0;  // not now
      return;
    }
    Code code = driver_.beginRecording(entry.stream);
    if (code == Code::ok) {
      const bool recorded = enqueue();
      code = driver_.endRecording(entry.stream, &entry.recording);
      if (!recorded && code == Code::ok) {
        driver_.drop(entry.recording);
        code = Code::failed;
      }
    }
    if (code == Code::ok) return;
    entry.recording = nullptr;
    left_++;
  }

  CudaDriver& driver_;
  std::atomic<int>& left_;
  std::vector<Entry> entries_;
};

}  // namespace gpushim
