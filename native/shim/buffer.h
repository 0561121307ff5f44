// Device memory that all models of a device share, as large as the largest needs.
#pragma once

#include <memory>
#include <mutex>

#include "arena.h"

namespace gpushim {

// Buffer only grows. Where memory can be remapped it never moves, so it can grow
// beside a run that uses it: at the load of a model that needs more, and not at
// its first run, when memory may be short.
class Buffer {
 public:
  // most bounds the size in bytes; it takes addresses, not memory.
  Buffer(Arena& arena, std::size_t most);
  ~Buffer();
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // Grows where that can be done beside a run. Throws Failure.
  void prepare(std::size_t bytes);
  // The address, with room for bytes. Nothing may be using the buffer.
  Address fit(std::size_t bytes);
  std::size_t bytes() const;

 private:
  Arena& arena_;
  mutable std::mutex mutex_;
  std::unique_ptr<Range> range_;  // where memory can be remapped
  Address plain_ = 0;             // elsewhere
  std::size_t bytes_ = 0;
};

}  // namespace gpushim
