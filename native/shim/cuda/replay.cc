#include "replay.h"

namespace gpushim {

bool Replay::reserve() {
  if (left_-- > 0) return true;
  left_++;
  return false;
}

void Replay::clear() noexcept {
  runs_ = 0;
  if (graph_ == nullptr) return;
  driver_.drop(graph_);
  graph_ = nullptr;
  left_++;
}

}  // namespace gpushim
