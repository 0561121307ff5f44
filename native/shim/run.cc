// Runs of a model that is loaded: the part of Placement that requests go through.
#include <algorithm>
#include <cstring>

#include "phase.h"
#include "placement.h"

namespace gpushim {

namespace {
// Large inputs go to the device in parts, so that one is on its way while the
// next is copied to pinned memory.
constexpr std::size_t kPart = 128 << 10;

std::size_t aligned(std::size_t n) { return (n + 255) / 256 * 256; }

Shape shapeOf(const gpushim_tensor& t) {
  if (t.rank > GPUSHIM_MAX_RANK) throw Failure(Code::badInput, "a tensor has too many dimensions");
  Shape s;
  s.rank = t.rank;
  std::copy(t.shape, t.shape + t.rank, s.dims);
  return s;
}

bool same(const Shape& a, const Shape& b) {
  return a.rank == b.rank && std::equal(a.dims, a.dims + a.rank, b.dims);
}
}  // namespace

void Placement::requireLoaded() const {
  if (!loaded_) throw Failure(Code::failed, "it is not loaded on this device");
}

void Placement::shapes(const gpushim_tensor* in, gpushim_tensor* out) {
  requireLoaded();
  for (std::size_t i = 0; i < inShapes_.size(); i++) inShapes_[i] = shapeOf(in[i]);
  program_->shapes(inShapes_.data(), outShapes_.data());
  for (std::size_t i = 0; i < outShapes_.size(); i++) {
    out[i].rank = outShapes_[i].rank;
    std::copy(outShapes_[i].dims, outShapes_[i].dims + outShapes_[i].rank, out[i].shape);
    out[i].bytes = tensorBytes(spec_.outputs[i].type, outShapes_[i]);
  }
}

void Placement::run(std::uint32_t number, const gpushim_tensor* in, const gpushim_tensor* out) {
  const Phase phase("compute");
  requireLoaded();
  Slot& slot = device_.slot(number);
  if (slot.dirty) check(driver_, driver_.waitStream(slot.stream.get()), "wait for the run before");
  slot.dirty = false;
  place(in, out);
  const Address io = slot.io.fit(ioBytes_);
  if (slot.staging.bytes() < ioBytes_) {
    slot.staging = Pinned();
    slot.staging = Pinned(device_.staging(), driver_, ioBytes_);
  }
  for (std::size_t i = 0; i < inAt_.size(); i++) inAddresses_[i] = io + inAt_[i];
  for (std::size_t i = 0; i < outAt_.size(); i++) outAddresses_[i] = io + outAt_[i];
  slot.dirty = dirty_ = true;
  try {
    enqueue(slot, in, out);
    check(driver_, driver_.waitStream(slot.stream.get()), "run");
    slot.dirty = dirty_ = false;
  } catch (...) {
    // The buffers belong to the next run only once this one has left the stream.
    if (driver_.waitStream(slot.stream.get()) == Code::ok) slot.dirty = dirty_ = false;
    throw;
  }
  for (std::size_t i = 0; i < outAt_.size(); i++) {
    if (outStaged_[i]) std::memcpy(out[i].data, slot.staging.data() + outAt_[i], out[i].bytes);
  }
}

// place checks the tensors and gives each its place in the slot's buffers.
void Placement::place(const gpushim_tensor* in, const gpushim_tensor* out) {
  const std::size_t inputs = inShapes_.size(), outputs = outShapes_.size();
  std::size_t at = 0;
  for (std::size_t i = 0; i < inputs; i++) {
    inShapes_[i] = shapeOf(in[i]);
    if (tensorBytes(spec_.inputs[i].type, inShapes_[i]) != in[i].bytes) {
      throw Failure(Code::badInput, "input \"" + spec_.inputs[i].name + "\" has not the bytes of its shape");
    }
    inAt_[i] = at;
    at += aligned(in[i].bytes);
  }
  program_->shapes(inShapes_.data(), outShapes_.data());
  for (std::size_t i = 0; i < outputs; i++) {
    const std::size_t bytes = tensorBytes(spec_.outputs[i].type, outShapes_[i]);
    if (out[i].data != nullptr && (out[i].bytes != bytes || !same(shapeOf(out[i]), outShapes_[i]))) {
      throw Failure(Code::badInput, "output \"" + spec_.outputs[i].name + "\" has another shape for these inputs");
    }
    outAt_[i] = at;
    at += aligned(bytes);
  }
  ioBytes_ = at;
}

// enqueue puts the run into the slot's stream, from host memory to host memory.
void Placement::enqueue(Slot& slot, const gpushim_tensor* in, const gpushim_tensor* out) {
  const Stream stream = slot.stream.get();
  const Address scratch = slot.scratch.fit(program_->scratchBytes());
  for (std::size_t i = 0; i < inAt_.size(); i++) sendInput(slot, in[i], inAt_[i], inAddresses_[i]);
  program_->enqueue(inAddresses_.data(), outAddresses_.data(), scratch, stream);
  for (std::size_t i = 0; i < outAt_.size(); i++) {
    outStaged_[i] = false;
    if (out[i].data == nullptr || out[i].bytes == 0) continue;
    outStaged_[i] = !device_.host().pinned(out[i].data, out[i].bytes);
    void* to = outStaged_[i] ? slot.staging.data() + outAt_[i] : out[i].data;
    check(driver_, driver_.copyOut(to, outAddresses_[i], out[i].bytes, stream), "copy the outputs");
  }
}

// sendInput goes straight from the caller's memory where that is pinned, and in
// parts through the slot's elsewhere.
void Placement::sendInput(Slot& slot, const gpushim_tensor& in, std::size_t at, Address to) {
  const char* from = static_cast<const char*>(in.data);
  if (in.bytes > 0 && device_.host().pinned(from, in.bytes)) {
    send(to, from, in.bytes, slot.stream.get());
    return;
  }
  char* staged = slot.staging.data() + at;
  for (std::size_t done = 0; done < in.bytes; done += kPart) {
    const std::size_t n = std::min<std::size_t>(kPart, in.bytes - done);
    std::memcpy(staged + done, from + done, n);
    send(to + done, staged + done, n, slot.stream.get());
  }
}

// send does not wait behind weights that are on their way to the device.
void Placement::send(Address to, const char* from, std::size_t bytes, Stream stream) {
  const bool even = (to | reinterpret_cast<std::uintptr_t>(from)) % 16 == 0;
  const bool pull = even && driver_.pulls() && device_.transfers().busy();
  check(driver_, pull ? driver_.pull(to, from, bytes, stream) : driver_.copyIn(to, from, bytes, stream),
        "copy the inputs");
}

}  // namespace gpushim
