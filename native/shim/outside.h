// What a device holds beside the arena: kernels' code, contexts, recorded runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>

namespace gpushim {

// Outside divides what the driver says is taken beside the arena among the models
// that were deserialized, and what they have in common. All in bytes; now is what is
// taken, by anybody, at the time of the call. The sum of all shares and of common()
// is never less than what was taken since the beginning, as long as no other process
// takes or gives back more than kCommon.
class Outside {
 public:
  // The most that counts as common: more has been taken by others.
  static constexpr std::size_t kCommon = 64 << 20;

  explicit Outside(std::size_t now) : base_(now) {}

  // One model is about to be deserialized; no other is until it has its share.
  void begin(std::size_t now) {
    std::lock_guard<std::mutex> lock(mutex_);
    // Others have gone who were there at the beginning.
    if (now + kCommon < base_ + shares_) base_ = now - std::min(now, shares_);
    before_ = now;
  }
  // What was taken since begin, or since the last share, goes to the model: at most
  // so much, and what other models gave back is taken into account. The driver takes
  // some megabytes at a time, for several models.
  std::size_t share(std::size_t now, std::size_t most) {
    std::lock_guard<std::mutex> lock(mutex_);
    const std::size_t grown = now - std::min(now, before_), open = now - std::min(now, base_ + shares_);
    before_ = std::max(before_, now);
    const std::size_t n = std::min({grown, open, most});
    shares_ += n;
    return n;
  }
  // The model has gone.
  void giveBack(std::size_t share) {
    std::lock_guard<std::mutex> lock(mutex_);
    shares_ -= share;
  }

  // What was taken and is no model's.
  std::size_t common(std::size_t now) const {
    std::lock_guard<std::mutex> lock(mutex_);
    return std::min(now - std::min(now, base_ + shares_), kCommon);
  }
  // What all models have together.
  std::size_t shares() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return shares_;
  }

 private:
  mutable std::mutex mutex_;
  std::size_t base_, shares_ = 0, before_ = 0;
};

}  // namespace gpushim
