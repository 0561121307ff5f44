#include "tensorrt.h"

#include <dlfcn.h>

#include <algorithm>
#include <type_traits>

#include "compat.h"
#include "replay.h"

namespace gpushim {

namespace {

#define GPUSHIM_STRING2(x) #x
#define GPUSHIM_STRING(x) GPUSHIM_STRING2(x)
using Dims = nvinfer1::Dims;

// What TensorRT said last in this thread, and what failed below it.
thread_local std::string lastMessage;
thread_local Code lastFailure = Code::ok;

void forget() {
  lastMessage.clear();
  lastFailure = Code::ok;
}

class Logger final : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* message) noexcept override {
    if (severity > Severity::kERROR) return;
    try {
      lastMessage = message;
    } catch (...) {
    }
  }
};

// Allocator gives TensorRT memory of the arena.
class Allocator final : public nvinfer1::IGpuAllocator {
 public:
  explicit Allocator(Memory& memory) : memory_(memory) {}

  void* allocate(std::uint64_t bytes, std::uint64_t alignment, nvinfer1::AllocatorFlags) noexcept override {
    if (bytes == 0) return nullptr;
    try {
      return reinterpret_cast<void*>(memory_.allocate(bytes, alignment));
    } catch (const Failure& f) {
      lastFailure = f.code;
      lastMessage = f.what();
    } catch (...) {
      lastFailure = Code::failed;
    }
    return nullptr;
  }
  bool deallocate(void* memory) noexcept override {
    return memory == nullptr || memory_.deallocate(reinterpret_cast<Address>(memory));
  }
#if GPUSHIM_TRT < 1000
  void free(void* memory) noexcept override { (void)deallocate(memory); }
#endif

 private:
  Memory& memory_;
};

int typeOf(nvinfer1::DataType t) {
  switch (t) {
    case nvinfer1::DataType::kFLOAT:
      return GPUSHIM_FP32;
    case nvinfer1::DataType::kHALF:
      return GPUSHIM_FP16;
    case nvinfer1::DataType::kINT8:
      return GPUSHIM_INT8;
    case nvinfer1::DataType::kINT32:
      return GPUSHIM_INT32;
    case nvinfer1::DataType::kBOOL:
      return GPUSHIM_BOOL;
#if GPUSHIM_TRT >= 805
    case nvinfer1::DataType::kUINT8:
      return GPUSHIM_UINT8;
#endif
#if GPUSHIM_TRT >= 1000
    case nvinfer1::DataType::kBF16:
      return GPUSHIM_BF16;
    case nvinfer1::DataType::kINT64:
      return GPUSHIM_INT64;
#endif
    default:
      return 0;
  }
}

Shape shapeOf(const Dims& d) {
  if (d.nbDims > GPUSHIM_MAX_RANK) throw Failure(Code::badModel, "a tensor has too many dimensions");
  Shape s;
  for (int i = 0; i < d.nbDims; i++) s.dims[s.rank++] = d.d[i];
  return s;
}

Dims dimsOf(const Shape& s) {
  Dims d{};
  d.nbDims = std::int32_t(s.rank);
  for (std::uint32_t i = 0; i < s.rank; i++) {
    d.d[i] = static_cast<std::remove_reference_t<decltype(d.d[0])>>(s.dims[i]);
  }
  return d;
}

bool same(const Shape& a, const Shape& b) {
  return a.rank == b.rank && std::equal(a.dims, a.dims + a.rank, b.dims);
}

const Shape kUnknown{GPUSHIM_MAX_RANK + 1, {}};

class TensorRTProgram final : public Program {
 public:
  TensorRTProgram(nvinfer1::ICudaEngine* engine, CudaDriver& driver, std::atomic<int>& recordings)
      : driver_(driver), engine_(engine), replay_(driver, recordings) {}

  void prepare() override;
  const Spec& spec() const override { return spec_; }
  std::size_t scratchBytes() const override { return scratch_; }
  void shapes(const Shape* inputs, Shape* outputs) override;
  void enqueue(const Address* inputs, const Address* outputs, Address scratch, Stream stream) override;
  void rest() noexcept override { replay_.rest(); }

 private:
  void describe();
  void describeProfile();
  void takeShape(std::size_t input, const Shape& shape);

  CudaDriver& driver_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  Spec spec_;
  std::size_t scratch_ = 0;
  std::vector<IO> ios_;
  std::vector<std::size_t> inputs_, outputs_;  // their places in ios_
  bool dynamic_ = false;
  // Of each input: what the profile allows, and what the context has now, which is
  // kUnknown before the first run and after a failure.
  std::vector<Shape> least_, most_, current_;
  std::vector<Shape> outShapes_;
  std::vector<void*> at_, set_;
  Address scratchAt_ = 0;
  Replay replay_;
  Replay::Key key_;
};

void TensorRTProgram::prepare() {
  std::shared_lock<std::shared_mutex> lock(driver_.recordingLock());
  forget();
  context_.reset(newContext(*engine_));
  if (!context_) {
    throw Failure(lastFailure == Code::ok ? Code::failed : lastFailure, "no execution context: " + lastMessage);
  }
  scratch_ = scratchBytesOf(*engine_);
  describe();
}

void TensorRTProgram::describe() {
  ios_ = listIO(*engine_);
  for (std::size_t i = 0; i < ios_.size(); i++) {
    const IO& io = ios_[i];
    TensorInfo t{io.name, typeOf(io.type), shapeOf(io.shape)};
    if (t.type == 0) throw Failure(Code::badModel, "\"" + io.name + "\" has a datatype that is not supported");
    if (io.onHost) throw Failure(Code::badModel, "\"" + io.name + "\" is a shape tensor, which is not supported");
    if (!io.linear) throw Failure(Code::badModel, "\"" + io.name + "\" is not in row-major order");
    (io.input ? spec_.inputs : spec_.outputs).push_back(t);
    (io.input ? inputs_ : outputs_).push_back(i);
    for (std::uint32_t d = 0; d < t.shape.rank; d++) dynamic_ = dynamic_ || t.shape.dims[d] < 0;
  }
  at_.resize(ios_.size());
  set_.resize(ios_.size());
  describeProfile();
}

// describeProfile finds out how large inputs and outputs can become.
void TensorRTProgram::describeProfile() {
  std::int64_t batch = 0;
  for (std::size_t i = 0; i < inputs_.size(); i++) {
    const IO& io = ios_[inputs_[i]];
    const Shape& shape = spec_.inputs[i].shape;
    least_.push_back(dynamic_ ? shapeOf(profileShape(*engine_, io, nvinfer1::OptProfileSelector::kMIN)) : shape);
    most_.push_back(dynamic_ ? shapeOf(profileShape(*engine_, io, nvinfer1::OptProfileSelector::kMAX)) : shape);
    const bool batched = shape.rank > 0 && shape.dims[0] < 0;
    batch = !batched ? 0 : i == 0 ? most_[i].dims[0] : std::min(batch, most_[i].dims[0]);
    spec_.inputBytes += tensorBytes(spec_.inputs[i].type, most_[i]);
  }
  spec_.maxBatch = batch;
  spec_.largest = most_;
  current_.assign(inputs_.size(), kUnknown);
  outShapes_.resize(outputs_.size());
  shapes(most_.data(), outShapes_.data());
  for (std::size_t i = 0; i < outputs_.size(); i++) {
    spec_.outputBytes += tensorBytes(spec_.outputs[i].type, outShapes_[i]);
  }
}

void TensorRTProgram::shapes(const Shape* inputs, Shape* outputs) {
  bool changed = false;
  for (std::size_t i = 0; i < inputs_.size(); i++) {
    if (same(inputs[i], current_[i])) continue;
    takeShape(i, inputs[i]);
    changed = true;
  }
  if (changed) {
    for (std::size_t i = 0; i < outputs_.size(); i++) {
      outShapes_[i] = dynamic_ ? shapeOf(shapeInContext(*context_, ios_[outputs_[i]])) : spec_.outputs[i].shape;
      for (std::uint32_t d = 0; d < outShapes_[i].rank; d++) {
        if (outShapes_[i].dims[d] >= 0) continue;
        current_.assign(current_.size(), kUnknown);
        throw Failure(Code::badModel, "the shape of \"" + spec_.outputs[i].name + "\" depends on data");
      }
    }
  }
  if (outputs != outShapes_.data()) std::copy(outShapes_.begin(), outShapes_.end(), outputs);
}

void TensorRTProgram::takeShape(std::size_t input, const Shape& shape) {
  const Shape &least = least_[input], &most = most_[input];
  bool fits = shape.rank == most.rank;
  for (std::uint32_t d = 0; fits && d < shape.rank; d++) {
    fits = shape.dims[d] >= least.dims[d] && shape.dims[d] <= most.dims[d];
  }
  const std::string& name = spec_.inputs[input].name;
  if (!fits) throw Failure(Code::badInput, "the plan was not built for this shape of \"" + name + "\"");
  current_[input] = kUnknown;
  replay_.clear();
  if (dynamic_ && !setInputShape(*context_, ios_[inputs_[input]], dimsOf(shape))) {
    throw Failure(Code::badInput, "the plan does not take this shape of \"" + name + "\": " + lastMessage);
  }
  current_[input] = shape;
}

void TensorRTProgram::enqueue(const Address* inputs, const Address* outputs, Address scratch, Stream stream) {
  for (std::size_t i = 0; i < inputs_.size(); i++) at_[inputs_[i]] = reinterpret_cast<void*>(inputs[i]);
  for (std::size_t i = 0; i < outputs_.size(); i++) at_[outputs_[i]] = reinterpret_cast<void*>(outputs[i]);
  key_.assign(1, std::int64_t(scratch));
  for (const void* at : at_) key_.push_back(std::int64_t(at));
  for (const Shape& s : current_) key_.insert(key_.end(), s.dims, s.dims + s.rank);
  forget();
  const bool done = replay_.run(stream, key_, [&] {
    if (scratchAt_ != scratch) setScratch(*context_, scratch, scratch_);
    scratchAt_ = scratch;
    return enqueueRun(*context_, ios_, at_, set_, static_cast<CUstream>(stream));
  });
  if (!done) throw Failure(lastFailure == Code::ok ? Code::failed : lastFailure, "TensorRT cannot run it: " + lastMessage);
}

class TensorRTLoader final : public Loader {
 public:
  TensorRTLoader(nvinfer1::IRuntime* (*create)(void*, std::int32_t), CudaDriver& driver, Memory& memory)
      : driver_(driver), allocator_(memory) {
    runtime_.reset(create(static_cast<nvinfer1::ILogger*>(&logger_), NV_TENSORRT_VERSION));
    if (!runtime_) throw Failure(Code::unavailable, "TensorRT does not start: " + lastMessage);
    runtime_->setGpuAllocator(&allocator_);
  }

  std::unique_ptr<Program> load(const void* plan, std::size_t bytes) override {
    std::shared_lock<std::shared_mutex> lock(driver_.recordingLock());
    forget();
    std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime_->deserializeCudaEngine(plan, bytes));
    if (!engine) {
      throw Failure(lastFailure == Code::ok ? Code::badModel : lastFailure,
                    std::string(TensorRT::version()) + " does not take this plan: " + lastMessage);
    }
    return std::make_unique<TensorRTProgram>(engine.release(), driver_, recordings_);
  }

 private:
  CudaDriver& driver_;
  Logger logger_;
  Allocator allocator_;
  std::atomic<int> recordings_{64};  // of all programs together, that there may be still
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
};

}  // namespace

TensorRT::TensorRT(const std::string& library) {
  const std::string name = library.empty() ? "libnvinfer.so." GPUSHIM_STRING(NV_TENSORRT_MAJOR) : library;
  // It stays loaded: TensorRT keeps threads and tables for as long as the process.
  void* loaded = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (loaded == nullptr) throw Failure(Code::unavailable, std::string("there is no ") + version() + ": " + dlerror());
  create_ = dlsym(loaded, "createInferRuntime_INTERNAL");
  if (create_ == nullptr) throw Failure(Code::unavailable, name + " is not TensorRT: " + dlerror());
}

const char* TensorRT::version() {
  return "TensorRT " GPUSHIM_STRING(NV_TENSORRT_MAJOR) "." GPUSHIM_STRING(NV_TENSORRT_MINOR);
}

std::unique_ptr<Loader> TensorRT::loader(CudaDriver& driver, Memory& memory) const {
  return std::make_unique<TensorRTLoader>(reinterpret_cast<nvinfer1::IRuntime* (*)(void*, std::int32_t)>(create_),
                                          driver, memory);
}

}  // namespace gpushim
