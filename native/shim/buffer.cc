#include "buffer.h"

namespace gpushim {

Buffer::Buffer(Arena& arena, std::size_t most) : arena_(arena) {
  if (arena.remaps()) range_ = arena.reserve(most);
}

Buffer::~Buffer() {
  if (range_) {
    try {
      arena_.unback(*range_);
    } catch (const Failure&) {
      return;  // the device is beyond repair, and its memory stays counted
    }
    arena_.unreserve(std::move(range_));
  } else if (plain_ != 0) {
    arena_.deallocate(plain_);
  }
}

void Buffer::prepare(std::size_t bytes) {
  if (range_) fit(bytes);
}

Address Buffer::fit(std::size_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (range_) {
    if (bytes > range_->bytes) {
      throw Failure(Code::noMemory, std::to_string(bytes) + " bytes are needed, and the device has " +
                                        std::to_string(range_->bytes));
    }
    arena_.grow(*range_, bytes);
    bytes_ = range_->mapped;
    return range_->base;
  }
  bytes = Slabs::rounded(bytes);
  if (bytes > bytes_) {
    if (plain_ != 0) arena_.deallocate(plain_);
    plain_ = bytes_ = 0;
    plain_ = arena_.allocate(bytes, 256);
    bytes_ = bytes;
  }
  return plain_;
}

std::size_t Buffer::bytes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return bytes_;
}

}  // namespace gpushim
