#include "device.h"

#include <algorithm>
#include <cstring>

namespace gpushim {

namespace {
DeviceInfo usable(DeviceInfo info, bool noRemap) {
  // Where host and device share memory, a host image of the weights would be a
  // second copy: models are deserialized again there.
  if (noRemap || info.unified) info.granules.clear();
  return info;
}
}  // namespace

Device::Device(Backend& backend, std::size_t index, HostPool& host, const DeviceOptions& options)
    : driver_(backend.driver(index)),
      info_(usable(backend.info(index), options.noRemap)),
      host_(host),
      arena_(driver_, ArenaOptions{options.budget, info_.granules, info_.small}) {
  check(driver_, driver_.enter(), "use the device");
  std::size_t free = 0, total = 0;
  check(driver_, driver_.memory(&free, &total), "ask the device for its memory");
  loader_ = backend.loader(index, *this);
  buildStream_ = std::make_unique<OwnedStream>(driver_);
  transfers_ = std::make_unique<Transfers>(driver_, options.transfers);
  for (std::uint32_t i = 0; i < options.slots; i++) slots_.push_back(std::make_unique<Slot>(driver_, arena_, total));
  std::size_t outside = 0;
  check(driver_, arena_.outside(&outside), "ask the device for its memory");
  outside_ = std::make_unique<Outside>(outside);
}

std::size_t Device::takenOutside() {
  std::size_t now = 0;
  check(driver_, arena_.outside(&now), "ask the device for its memory");
  arena_.setTaken(outside_->shares() + outside_->common(now));
  return now;
}

Slot& Device::slot(std::uint32_t i) {
  if (i >= slots_.size()) throw Failure(Code::failed, "there is no slot " + std::to_string(i));
  return *slots_[i];
}

void Device::record(Recording* r) {
  std::lock_guard<std::mutex> lock(recordingLock_);
  recording_ = r;
  recorder_ = std::this_thread::get_id();
}

void Device::stopRecording() { record(nullptr); }

void Device::prepare(std::size_t scratch, std::size_t io) {
  for (auto& s : slots_) {
    s->scratch.prepare(scratch);
    s->io.prepare(io);
  }
}

Address Device::allocate(std::size_t bytes, std::size_t alignment) {
  const Address at = arena_.allocate(bytes, alignment);
  std::lock_guard<std::mutex> lock(recordingLock_);
  if (recording_ != nullptr && recorder_ == std::this_thread::get_id()) {
    Range* range = arena_.find(at);
    const std::size_t n = range != nullptr ? range->backed : Slabs::rounded(bytes);
    recording_->blocks[at] = n;
    recording_->bytes += n;
    recording_->peak = std::max(recording_->peak, recording_->bytes);
  }
  return at;
}

bool Device::deallocate(Address at) noexcept {
  {
    std::lock_guard<std::mutex> lock(recordingLock_);
    if (recording_ != nullptr) {
      auto block = recording_->blocks.find(at);
      if (block != recording_->blocks.end()) {
        recording_->bytes -= block->second;
        recording_->blocks.erase(block);
      }
    }
  }
  return arena_.deallocate(at);
}

// slack is what models leave of the budget, so that the granules that are free are
// mostly of the sizes that the next model wants: without that, one in sixteen swaps of
// a mix of three sizes makes a granule, and with it almost none.
std::size_t Device::slack() const {
  return info_.granules.empty() ? 0 : std::min(arena_.budget() / 64, 20 * info_.granules.back());
}

void Device::describe(gpushim_device* d) {
  std::memset(d, 0, sizeof *d);
  std::strncpy(d->id, info_.id.c_str(), sizeof d->id - 1);
  std::strncpy(d->name, info_.name.c_str(), sizeof d->name - 1);
  std::size_t free = 0, total = 0;
  check(driver_, driver_.memory(&free, &total), "ask the device for its memory");
  const std::size_t common = outside_->common(takenOutside());
  const Granules::Count count = arena_.count();
  const std::size_t slack = this->slack();
  std::size_t overhead = arena_.spare() + slack + common;
  for (const auto& s : slots_) overhead += s->scratch.bytes() + s->io.bytes();
  d->total_bytes = total;
  d->free_bytes = std::min(total, free + count.unused);
  d->overhead_bytes = overhead;
  d->outside_bytes = outside_->shares() + common;
  d->taken_bytes = count.used + d->outside_bytes;
  d->kept_bytes = count.unused - std::min(count.unused, slack);
  d->host_bytes = host_.used() + staging_.used();
  d->unified = info_.unified;
  d->remaps = arena_.remaps();
}

}  // namespace gpushim
