// Small allocations inside chunks of device memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "driver.h"

namespace gpushim {

// Slabs hands out parts of chunks that somebody else made, first fit, and joins
// what comes back with its free neighbours. It touches no device memory and is
// not safe for use by several threads.
class Slabs {
 public:
  // Bytes that an allocation takes.
  static std::size_t rounded(std::size_t bytes);

  void addChunk(Address base, std::size_t bytes);
  void removeChunk(Address base);  // which must be unused

  // 0: no chunk has room.
  Address allocate(std::size_t bytes, std::size_t alignment);
  // The base of the chunk that is unused now, or 0. *known says whether anything
  // was allocated there.
  Address deallocate(Address at, bool* known);

  std::size_t spare() const;  // bytes of the chunks that are free

 private:
  struct Chunk {
    std::size_t bytes = 0;
    std::map<Address, std::size_t> free;  // begin -> bytes
    std::map<Address, std::size_t> used;
  };
  static Address fit(Chunk& chunk, std::size_t bytes, std::size_t alignment);

  std::map<Address, Chunk> chunks_;
};

}  // namespace gpushim
