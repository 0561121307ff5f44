// Programs of the double: see plan.h for what they compute.
#include <chrono>
#include <cstring>

#include "backend.h"
#include "plan.h"

namespace gpushim {

namespace {

// Block is device memory of a program.
class Block {
 public:
  Block(Memory& memory, std::size_t bytes) : memory_(&memory), at(memory.allocate(bytes, 256)), bytes(bytes) {}
  Block(Block&& o) noexcept : memory_(o.memory_), at(o.at), bytes(o.bytes) { o.memory_ = nullptr; }
  Block& operator=(Block&&) = delete;
  ~Block() {
    if (memory_ != nullptr) memory_->deallocate(at);
  }

 private:
  Memory* memory_;

 public:
  const Address at;
  const std::size_t bytes;
};

// Hidden is device memory that the driver takes for a program.
class Hidden {
 public:
  explicit Hidden(DoubleDriver& driver) : driver_(driver) {}
  ~Hidden() { driver_.unhide(bytes_); }
  Hidden(const Hidden&) = delete;
  Hidden& operator=(const Hidden&) = delete;
  void take(std::size_t bytes) {
    driver_.hide(bytes);
    bytes_ += bytes;
  }

 private:
  DoubleDriver& driver_;
  std::size_t bytes_ = 0;
};

class DoubleProgram : public Program {
 public:
  DoubleProgram(DoubleDriver& driver, Memory& memory, const PlanHeader& header, const float* weights);

  void prepare() override;
  const Spec& spec() const override { return spec_; }
  std::size_t scratchBytes() const override { return rows() * header_.outputs * sizeof(float); }
  void shapes(const Shape* inputs, Shape* outputs) override;
  void enqueue(const Address* inputs, const Address* outputs, Address scratch, Stream stream) override;
  void rest() noexcept override {}

 private:
  std::size_t rows() const { return std::max<std::size_t>(1, header_.maxBatch); }
  bool scale() const { return (header_.flags & kPlanScale) != 0; }
  void upload(const Block& block, const void* from);
  void compute(const float* x, float* y, float* total, float* scratch, std::size_t rows);

  DoubleDriver& driver_;
  Memory& memory_;
  const PlanHeader header_;
  Spec spec_;
  Hidden hidden_;
  int enqueued_ = 0;
  std::vector<Block> weights_;
  // Counts the runs on the device: memory that is written, so it must be there
  // still after the weights have come and gone.
  std::unique_ptr<Block> state_;
  std::uint64_t runs_ = 0;
  std::size_t batch_ = 1;
};

TensorInfo tensor(const char* name, std::uint32_t maxBatch, std::uint32_t n) {
  TensorInfo t;
  t.name = name;
  t.type = GPUSHIM_FP32;
  if (maxBatch > 0) t.shape.dims[t.shape.rank++] = -1;
  t.shape.dims[t.shape.rank++] = n;
  return t;
}

DoubleProgram::DoubleProgram(DoubleDriver& driver, Memory& memory, const PlanHeader& header, const float* weights)
    : driver_(driver), memory_(memory), header_(header), hidden_(driver) {
  hidden_.take(driver.options().hiddenCode);
  spec_.inputs = {tensor(scale() ? "input" : "x", header.maxBatch, header.inputs)};
  spec_.outputs = {tensor(scale() ? "output" : "y", header.maxBatch, header.outputs)};
  if (!scale()) spec_.outputs.push_back(tensor("total", header.maxBatch, 1));
  spec_.maxBatch = header.maxBatch;
  spec_.largest = {spec_.inputs[0].shape};
  if (header.maxBatch > 0) spec_.largest[0].dims[0] = header.maxBatch;
  spec_.inputBytes = rows() * header.inputs * sizeof(float);
  spec_.outputBytes = rows() * (header.outputs + 1) * sizeof(float);
  const std::size_t each = (header.weights + header.blocks - 1) / header.blocks;
  for (std::size_t at = 0; at < header.weights; at += each) {
    weights_.emplace_back(memory, std::min(each, header.weights - at) * sizeof(float));
    upload(weights_.back(), weights + at);
  }
}

void DoubleProgram::upload(const Block& block, const void* from) {
  OwnedStream stream(driver_);
  const Code code = driver_.launch(stream.get(), {{block.at, block.bytes, true}},
                                   [&] { std::memcpy(reinterpret_cast<void*>(block.at), from, block.bytes); });
  check(driver_, code, "copy the weights");
}  // the stream ends first

void DoubleProgram::prepare() {
  state_ = std::make_unique<Block>(memory_, sizeof runs_);
  upload(*state_, &runs_);
  hidden_.take(driver_.options().hiddenContext);
}

void DoubleProgram::shapes(const Shape* inputs, Shape* outputs) {
  const Shape& x = inputs[0];
  const Shape& want = spec_.inputs[0].shape;
  bool fits = x.rank == want.rank && x.dims[x.rank - 1] == header_.inputs;
  fits = fits && (header_.maxBatch == 0 || (x.dims[0] >= 1 && x.dims[0] <= header_.maxBatch));
  if (!fits) throw Failure(Code::badInput, "the plan was not built for this shape of \"" + spec_.inputs[0].name + "\"");
  batch_ = header_.maxBatch == 0 ? 1 : std::size_t(x.dims[0]);
  for (std::size_t i = 0; i < spec_.outputs.size(); i++) {
    outputs[i] = spec_.outputs[i].shape;
    if (header_.maxBatch > 0) outputs[i].dims[0] = x.dims[0];
  }
}

void DoubleProgram::enqueue(const Address* inputs, const Address* outputs, Address scratch, Stream stream) {
  if (++enqueued_ == 8) hidden_.take(driver_.options().hiddenRecording);
  const std::size_t rows = batch_, f = sizeof(float);
  std::vector<Touch> touches = {{inputs[0], rows * header_.inputs * f, false},
                                {outputs[0], rows * header_.outputs * f, true},
                                {scratch, rows * header_.outputs * f, true},
                                {state_->at, state_->bytes, true}};
  for (const Block& w : weights_) touches.push_back({w.at, w.bytes, false});
  if (!scale()) touches.push_back({outputs[1], rows * f, true});
  auto* x = reinterpret_cast<const float*>(inputs[0]);
  auto* y = reinterpret_cast<float*>(outputs[0]);
  auto* total = scale() ? nullptr : reinterpret_cast<float*>(outputs[1]);
  auto* work = reinterpret_cast<float*>(scratch);
  check(driver_, driver_.launch(stream, std::move(touches), [=] { compute(x, y, total, work, rows); }), "launch");
}

// compute runs in the stream.
void DoubleProgram::compute(const float* x, float* y, float* total, float* scratch, std::size_t rows) {
  if (header_.micros > 0) std::this_thread::sleep_for(std::chrono::microseconds(header_.micros));
  auto* counted = reinterpret_cast<std::uint64_t*>(state_->at);
  const bool kept = *counted == runs_;
  *counted = ++runs_;
  for (std::size_t row = 0; row < rows; row++, x += header_.inputs, scratch += header_.outputs) {
    // -0 plus anything is that, also in its sign.
    std::fill(scratch, scratch + header_.outputs, -0.0f);
    std::size_t k = 0;
    for (const Block& block : weights_) {
      auto* w = reinterpret_cast<const float*>(block.at);
      for (std::size_t i = 0; i < block.bytes / sizeof(float); i++, k++) {
        scratch[k % header_.outputs] += w[i] * x[k % header_.inputs];
      }
    }
    float sum = 0;
    for (std::size_t j = 0; j < header_.outputs; j++) {
      y[row * header_.outputs + j] = kept ? scratch[j] : -1;
      sum += scratch[j];
    }
    if (total != nullptr) total[row] = sum;
  }
}

class DoubleLoader : public Loader {
 public:
  DoubleLoader(DoubleDriver& driver, Memory& memory) : driver_(driver), memory_(memory) {}

  std::unique_ptr<Program> load(const void* plan, std::size_t bytes) override {
    PlanHeader h;
    if (bytes < sizeof h) throw Failure(Code::badModel, "this is no plan: it is too short");
    std::memcpy(&h, plan, sizeof h);
    if (std::memcmp(h.magic, kPlanMagic, sizeof h.magic) != 0) throw Failure(Code::badModel, "this is no plan");
    const std::size_t skip = sizeof h.magic + sizeof h.checksum;
    if (planChecksum(static_cast<const char*>(plan) + skip, bytes - skip) != h.checksum ||
        h.weights != (bytes - sizeof h) / sizeof(float) || h.inputs == 0 || h.outputs == 0 || h.blocks == 0) {
      throw Failure(Code::badModel, "the plan is damaged");
    }
    if (h.flags & kPlanForeign) throw Failure(Code::badModel, "the plan was built for another version");
    return std::make_unique<DoubleProgram>(driver_, memory_, h,
                                           reinterpret_cast<const float*>(static_cast<const char*>(plan) + sizeof h));
  }

 private:
  DoubleDriver& driver_;
  Memory& memory_;
};

}  // namespace

std::unique_ptr<Loader> DoubleBackend::loader(std::size_t, Memory& memory) {
  return std::make_unique<DoubleLoader>(driver_, memory);
}

}  // namespace gpushim
