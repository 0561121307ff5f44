#include "placement.h"

#include <algorithm>

#include "phase.h"
#include "warmup.h"

namespace gpushim {

namespace {
// More than a model takes of what is in TensorRT's library.
constexpr std::size_t kLibraryCode = 16 << 20;
}  // namespace

Placement::Placement(Device& device)
    : device_(device), driver_(device.driver()), copied_(device.driver()) {}

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
  const Phase phase("swap");
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

// share is what was taken beside the arena since the last one, up to what is left.
std::size_t Placement::share(std::size_t* left) {
  const std::size_t n = device_.outside().share(device_.takenOutside(), *left);
  *left -= n;
  return n;
}

void Placement::build(const std::string& plan) {
  std::lock_guard<std::mutex> lock(device_.building());
  Recording deserialized, prepared;
  // Other processes may take memory meanwhile: a plan's code is in the plan, or in
  // TensorRT's own library.
  std::size_t most = plan.size() + kLibraryCode;
  try {
    device_.outside().begin(device_.takenOutside());
    {
      Recorder recorder(device_, &deserialized);
      program_ = device_.loader().load(plan.data(), plan.size());
    }
    if (device_.arena().remaps()) capture(deserialized);
    shares_.engine = share(&most);
    {
      Recorder recorder(device_, &prepared);
      program_->prepare();
    }
    shares_.context = share(&most);
    describe();
    device_.prepare(program_->scratchBytes(), spec_.inputBytes + spec_.outputBytes);
    dirty_ = true;
    warmUp(device_, *program_);
    dirty_ = false;
    shares_.run = share(&most);
    (void)device_.takenOutside();  // the arena leaves room for them
    account(deserialized, prepared);
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
  outStaged_.resize(spec_.outputs.size());
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
  const Stream stream = device_.buildStream();
  dirty_ = true;
  for (const Weight& w : weights_) {
    check(driver_, driver_.copyOut(image_.data() + w.at, w.range->base, w.range->bytes, stream), "copy the weights");
  }
  check(driver_, driver_.waitStream(stream), "copy the weights");
  dirty_ = false;
}

void Placement::account(const Recording& deserialized, const Recording& prepared) {
  const bool remaps = device_.arena().remaps();
  std::size_t weights = 0;
  for (const Weight& w : weights_) weights += w.range->backed;
  const std::size_t small = deserialized.bytes - weights + prepared.bytes;
  const std::size_t kept = small + shares_.all();
  std::lock_guard<std::mutex> lock(costLock_);
  cost_.resident = kept + weights;
  // A later load takes what is not there yet, unless it deserializes again.
  const std::size_t building = std::max(deserialized.peak, deserialized.bytes + prepared.peak) + shares_.all();
  cost_.peak = remaps ? cost_.resident : std::max<std::size_t>(building, cost_.resident);
  cost_.host = image_.bytes();
  cost_.measured = 1;
  if (!remaps) return;
  cost_.residual = kept;
  cost_.residual_small = small;
  cost_.residual_engine = shares_.engine;
  cost_.residual_context = shares_.context;
  cost_.residual_run = shares_.run;
}

void Placement::cost(gpushim_cost* c) const {
  std::lock_guard<std::mutex> lock(costLock_);
  *c = cost_;
}

// discard drops the program and everything that came with it.
void Placement::discard() {
  settle();
  weights_.clear();
  dropProgram();
  image_ = Pinned();
  broken_ = false;
}

void Placement::dropProgram() {
  program_.reset();
  device_.outside().giveBack(shares_.all());
  shares_ = {};
}

// settle returns once nothing in flight touches this model's memory.
void Placement::settle() {
  if (!dirty_) return;
  check(driver_, driver_.waitAll(), "wait for the device");
  dirty_ = false;
}

void Placement::swapIn() {
  settle();
  unmapWeights();  // what a load that failed could not give back
  try {
    for (const Weight& w : weights_) device_.arena().back(*w.range, w.range->bytes);
    copyWeights();
  } catch (...) {
    // Copies that were begun end before what they write to goes.
    if (driver_.waitStream(device_.transfers().stream()) == Code::ok) {
      dirty_ = false;
      (void)unmapAll();
    }
    throw;
  }
}

// copyWeights copies to the homes of the granules, which are accessible already,
// and maps them to the addresses of the weights while the copy is under way.
void Placement::copyWeights() {
  std::vector<Transfers::Piece> pieces;
  for (const Weight& w : weights_) {
    std::size_t at = 0;
    for (const Granule& g : w.range->granules) {
      const std::size_t n = std::min(g.bytes, w.range->bytes - at);
      pieces.push_back({g.home, image_.data() + w.at + at, n});
      at += n;
    }
  }
  if (pieces.empty()) return;
  dirty_ = true;
  Transfers::Ticket ticket(device_.transfers(), pieces, copied_.get());
  Arena& arena = device_.arena();
  for (const Weight& w : weights_) arena.map(*w.range);
  while (!ticket.isDone() && arena.unmapRetired()) {
  }
  ticket.wait();
  dirty_ = false;
}

void Placement::evict() {
  loaded_ = false;  // whatever happens, it cannot run
  check(driver_, driver_.enter(), "use the device");
  settle();
  if (!device_.arena().remaps()) {
    dropProgram();
    return;
  }
  if (program_) program_->rest();
  for (const Weight& w : weights_) {
    if (!w.range->granules.empty()) device_.arena().retire(*w.range);
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
