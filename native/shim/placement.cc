#include "placement.h"

#include <algorithm>

namespace gpushim {

Placement::Placement(Device& device)
    : device_(device), driver_(device.driver()), copied_(device.driver()), ran_(device.driver()) {}

Placement::~Placement() {
  (void)driver_.enter();
  try {
    discard();
  } catch (const Failure& f) {
    // Freeing what the device may be using is worse than not freeing it, unless
    // the device is gone.
    if (f.code != Code::lost) (void)program_.release();
  }
}

void Placement::load(const std::string* plan) {
  if (loaded_) throw Failure(Code::failed, "it is loaded on this device already");
  if (needsPlan()) {
    discard();
    build(*plan);
  } else {
    swapIn();
  }
  loaded_ = true;
}

namespace {
// Recorder writes this thread's allocations to a Recording until it goes.
class Recorder {
 public:
  Recorder(Device& device, Recording* r) : device_(device) { device.record(r); }
  ~Recorder() { device_.stopRecording(); }

 private:
  Device& device_;
};
}  // namespace

// outside is what is taken on the device beside the arena, by anyone.
std::size_t Placement::outside() {
  std::size_t free = 0, total = 0;
  check(driver_, driver_.memory(&free, &total), "ask the device for its memory");
  const Granules::Count count = device_.arena().count();
  const std::size_t arena = count.used + count.unused;
  return total - free > arena ? total - free - arena : 0;
}

void Placement::build(const std::string& plan) {
  std::lock_guard<std::mutex> lock(device_.building());
  Recording deserialized, prepared;
  try {
    const std::size_t before = outside();
    {
      Recorder recorder(device_, &deserialized);
      program_ = device_.loader().load(plan.data(), plan.size());
    }
    if (device_.arena().remaps()) capture(deserialized);
    {
      Recorder recorder(device_, &prepared);
      program_->prepare();
    }
    const std::size_t after = outside();
    describe();
    device_.prepare(program_->scratchBytes(), spec_.inputBytes + spec_.outputBytes);
    account(deserialized, prepared, after > before ? after - before : 0);
  } catch (...) {
    broken_ = true;
    try {
      discard();
    } catch (const Failure&) {
      // The next load, or the end, tries again.
    }
    throw;
  }
}

// describe keeps the spec for readers, who may be reading when a later load
// deserializes again.
void Placement::describe() {
  if (described_) return;
  spec_ = program_->spec();
  inShapes_.resize(spec_.inputs.size());
  inAt_.resize(spec_.inputs.size());
  inAddresses_.resize(spec_.inputs.size());
  outShapes_.resize(spec_.outputs.size());
  outAt_.resize(spec_.outputs.size());
  outAddresses_.resize(spec_.outputs.size());
  described_ = true;
}

// capture copies the weights to pinned host memory: the only time that they come
// from the device.
void Placement::capture(const Recording& recording) {
  std::size_t bytes = 0;
  weights_.clear();
  for (const auto& block : recording.blocks) {
    Range* range = device_.arena().find(block.first);
    if (range == nullptr) continue;  // small memory stays where it is
    weights_.push_back({range, bytes});
    bytes += (range->bytes + 255) / 256 * 256;
  }
  if (bytes == 0) return;
  image_ = Pinned(device_.host(), driver_, bytes);
  check(driver_, driver_.waitAll(), "wait for the weights");
  const Stream stream = device_.copyStream();
  dirty_ = true;
  {
    std::lock_guard<std::mutex> lane(device_.copyLane());
    for (const Weight& w : weights_) {
      check(driver_, driver_.copyOut(image_.data() + w.at, w.range->base, w.range->bytes, stream), "copy the weights");
    }
  }
  check(driver_, driver_.waitStream(stream), "copy the weights");
  dirty_ = false;
}

void Placement::account(const Recording& deserialized, const Recording& prepared, std::size_t outside) {
  std::size_t weights = 0;
  for (const Weight& w : weights_) weights += w.range->backed;
  const std::size_t kept = deserialized.bytes - weights + prepared.bytes + outside;
  std::lock_guard<std::mutex> lock(costLock_);
  cost_.resident = kept + weights;
  cost_.residual = device_.arena().remaps() ? kept : 0;
  // A later load takes what is not there yet, unless it deserializes again.
  const std::size_t building = std::max(deserialized.peak, deserialized.bytes + prepared.peak) + outside;
  cost_.peak = device_.arena().remaps() ? cost_.resident : std::max<std::size_t>(building, cost_.resident);
  cost_.host = image_.bytes();
  cost_.measured = 1;
}

void Placement::cost(gpushim_cost* c) const {
  std::lock_guard<std::mutex> lock(costLock_);
  *c = cost_;
}

// discard drops the program and everything that came with it.
void Placement::discard() {
  settle();
  weights_.clear();
  program_.reset();
  image_ = Pinned();
  broken_ = false;
}

// settle returns once nothing in flight touches this model's memory.
void Placement::settle() {
  if (!dirty_) return;
  check(driver_, driver_.waitAll(), "wait for the device");
  dirty_ = false;
}

void Placement::swapIn() {
  settle();
  unmapWeights();  // what an eviction or a load that failed could not give back
  try {
    for (const Weight& w : weights_) device_.arena().back(*w.range, w.range->bytes);
    copyWeights();
  } catch (...) {
    // Copies that were begun end before what they write to goes.
    if (driver_.waitStream(device_.copyStream()) == Code::ok) {
      dirty_ = false;
      (void)unmapAll();
    }
    throw;
  }
}

// copyWeights begins to copy as soon as there is something to copy to, and maps
// the rest meanwhile.
void Placement::copyWeights() {
  if (weights_.empty()) return;
  Arena& arena = device_.arena();
  arena.mapNext(*weights_[0].range);  // before it is this model's turn
  dirty_ = true;
  {
    std::lock_guard<std::mutex> lane(device_.copyLane());
    for (const Weight& w : weights_) {
      const std::size_t first = copyPart(w, 0);
      arena.mapRest(*w.range);
      copyPart(w, first);
    }
    check(driver_, driver_.record(copied_.get(), device_.copyStream()), "record an event");
  }
  check(driver_, driver_.wait(copied_.get()), "copy the weights");
  dirty_ = false;
}

// copyPart copies what can be copied from begin on, and returns where that ends.
std::size_t Placement::copyPart(const Weight& w, std::size_t begin) {
  const std::size_t end = std::min(w.range->open, w.range->bytes);
  if (end <= begin) return begin;
  check(driver_,
        driver_.copyIn(w.range->base + begin, image_.data() + w.at + begin, end - begin, device_.copyStream()),
        "copy the weights");
  return end;
}

void Placement::evict() {
  loaded_ = false;  // whatever happens, it cannot run
  check(driver_, driver_.enter(), "use the device");
  check(driver_, driver_.wait(ran_.get()), "wait for the last run");
  settle();
  if (device_.arena().remaps()) {
    unmapWeights();
  } else {
    program_.reset();
  }
}

void Placement::unmapWeights() {
  if (Code code = unmapAll(); code != Code::ok) check(driver_, code, "unmap the weights");
}

// unmapAll unmaps what it can, and returns the first failure.
Code Placement::unmapAll() {
  Code first = Code::ok;
  for (const Weight& w : weights_) {
    if (w.range->granules.empty()) continue;
    try {
      device_.arena().unback(*w.range);
    } catch (const Failure& f) {
      if (first == Code::ok) first = f.code;
    }
  }
  return first;
}

}  // namespace gpushim
