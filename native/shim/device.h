// One device: its memory, the streams on it, and what is shared by its models.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "arena.h"
#include "buffer.h"
#include "hostpool.h"
#include "outside.h"
#include "program.h"
#include "transfers.h"

namespace gpushim {

// Slot is what one run at a time uses.
struct Slot {
  Slot(Driver& driver, Arena& arena, std::size_t most) : scratch(arena, most), io(arena, most), stream(driver) {}
  Buffer scratch, io;
  Pinned staging;
  bool dirty = false;  // a run failed, and it is not known whether it has left the stream
  OwnedStream stream;  // the first to go: the buffers are not used then
};

// Recording lists what one program has allocated and not given back.
struct Recording {
  std::map<Address, std::size_t> blocks;
  std::size_t bytes = 0, peak = 0;
};

struct DeviceOptions {
  std::size_t budget = 0;      // bytes; 0: no limit
  std::uint32_t slots = 1;     // runs at once
  std::uint32_t transfers = 2; // models whose copies are in the stream at once: the next one's
                               // are there before the first one's end, and more only wait
  bool noRemap = false;        // behave as without virtual memory management
};

class Device : public Memory {
 public:
  Device(Backend& backend, std::size_t index, HostPool& host, const DeviceOptions& options);

  Driver& driver() { return driver_; }
  Arena& arena() { return arena_; }
  HostPool& host() { return host_; }
  // What the slots' buffers in host memory are of: no model's image is in their way.
  HostPool& staging() { return staging_; }
  Loader& loader() { return *loader_; }
  const DeviceInfo& info() const { return info_; }
  Slot& slot(std::uint32_t i);

  // What is taken on the device beside the arena, and whose it is. takenOutside asks
  // the driver, and has the arena leave that much of the budget.
  Outside& outside() { return *outside_; }
  std::size_t takenOutside();

  // Held while a program is made: one at a time, so that what it takes can be
  // told from what others take.
  std::mutex& building() { return building_; }
  // Until stop, the calling thread's allocations are written to r.
  void record(Recording* r);
  void stopRecording();

  // Makes all slots large enough for a model.
  void prepare(std::size_t scratch, std::size_t io);

  // The stream of whoever holds building().
  Stream buildStream() const { return buildStream_->get(); }
  Transfers& transfers() { return *transfers_; }

  void describe(gpushim_device* d);

  Address allocate(std::size_t bytes, std::size_t alignment) override;
  bool deallocate(Address at) noexcept override;

 private:
  std::size_t slack() const;

  Driver& driver_;
  DeviceInfo info_;
  HostPool& host_;
  HostPool staging_{0};
  Arena arena_;
  std::unique_ptr<Outside> outside_;
  std::unique_ptr<Loader> loader_;
  std::unique_ptr<OwnedStream> buildStream_;
  std::unique_ptr<Transfers> transfers_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::mutex building_;

  std::mutex recordingLock_;
  Recording* recording_ = nullptr;
  std::thread::id recorder_;
};

}  // namespace gpushim
