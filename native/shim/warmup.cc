#include "warmup.h"

namespace gpushim {

namespace {

// Loan is device memory for a short time.
class Loan {
 public:
  Loan(Arena& arena, std::size_t bytes) : arena_(arena), at_(arena.allocate(std::max<std::size_t>(bytes, 1), 256)) {}
  ~Loan() {
    if (at_ != 0) arena_.deallocate(at_);
  }
  Loan(const Loan&) = delete;
  Loan& operator=(const Loan&) = delete;
  Address at() const { return at_; }
  // The device may be using it for good: it stays taken.
  void forfeit() { at_ = 0; }

 private:
  Arena& arena_;
  Address at_;
};

// layOut gives each tensor a place from *at on.
std::vector<Address> layOut(const std::vector<TensorInfo>& tensors, const std::vector<Shape>& shapes, Address* at) {
  std::vector<Address> places;
  for (std::size_t i = 0; i < tensors.size(); i++) {
    places.push_back(*at);
    *at += (tensorBytes(tensors[i].type, shapes[i]) + 255) / 256 * 256;
  }
  return places;
}

void runOnZeros(Device& device, Program& program, Loan& io, std::size_t bytes, Loan& scratch,
                const std::vector<Address>& inputs, const std::vector<Address>& outputs) {
  Driver& driver = device.driver();
  const Stream stream = device.buildStream();
  std::exception_ptr failure;
  try {
    check(driver, driver.zero(io.at(), bytes, stream), "clear the inputs");
    program.enqueue(inputs.data(), outputs.data(), scratch.at(), stream);
  } catch (...) {
    failure = std::current_exception();
  }
  const Code code = driver.waitStream(stream);
  if (code != Code::ok && code != Code::lost) {
    io.forfeit();
    scratch.forfeit();
  }
  if (failure) std::rethrow_exception(failure);
  check(driver, code, "run it for the first time");
}

}  // namespace

void warmUp(Device& device, Program& program) {
  const Spec& spec = program.spec();
  std::vector<Shape> shapes(spec.outputs.size());
  program.shapes(spec.largest.data(), shapes.data());
  Address bytes = 0;
  std::vector<Address> inputs = layOut(spec.inputs, spec.largest, &bytes);
  std::vector<Address> outputs = layOut(spec.outputs, shapes, &bytes);
  std::unique_ptr<Loan> io, scratch;
  try {
    io = std::make_unique<Loan>(device.arena(), bytes);
    scratch = std::make_unique<Loan>(device.arena(), program.scratchBytes());
  } catch (const Failure& f) {
    if (f.code == Code::noMemory) return;
    throw;
  }
  for (Address& at : inputs) at += io->at();
  for (Address& at : outputs) at += io->at();
  runOnZeros(device, program, *io, bytes, *scratch, inputs, outputs);
}

}  // namespace gpushim
