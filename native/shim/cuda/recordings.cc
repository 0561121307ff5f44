#include "recordings.h"

#include <algorithm>

namespace gpushim {

Recordings::Entry& Recordings::find(Stream stream, const Key& key) {
  auto it = std::find_if(entries_.begin(), entries_.end(),
                         [&](const Entry& e) { return e.stream == stream && e.key == key; });
  if (it != entries_.end()) return *it;
  if (entries_.size() == kMost) {  // the oldest
    forget(entries_.front());
    entries_.erase(entries_.begin());
  }
  entries_.push_back({stream, key});
  return entries_.back();
}

bool Recordings::reserve() {
  if (left_-- > 0) return true;
  left_++;
  return false;
}

void Recordings::forget(Entry& entry) noexcept {
  if (entry.recording == nullptr) return;
  driver_.drop(entry.recording);
  left_++;
}

void Recordings::clear() noexcept {
  for (Entry& e : entries_) forget(e);
  entries_.clear();
}

}  // namespace gpushim
