// What measure calls: the shim through its table, and TensorRT alone.
#pragma once

#include <NvInfer.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../cuda/driver.h"
#include "../program.h"

namespace gpushim {

using Clock = std::chrono::steady_clock;

inline double msSince(Clock::time_point t) {
  return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
}

inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

[[noreturn]] inline void die(const std::string& why) {
  std::fprintf(stderr, "measure: %s\n", why.c_str());
  std::exit(1);
}

// Shim is an engine behind the C table, with copies of one plan that has one
// input and at least one output.
class Shim {
 public:
  Shim(const char* library, const char* plan, std::size_t models) {
    void* loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) die(dlerror());
    auto get = reinterpret_cast<const gpushim_table* (*)(uint32_t)>(dlsym(loaded, "gpushim_get"));
    table_ = get(GPUSHIM_VERSION);
    if (table_ == nullptr) die("the library has another version of the table");
    gpushim_config config{};
    config.slots = 2;
    must(table_->open_engine(&config, &engine_, &error_));
    models_.resize(models);
    for (auto& m : models_) must(table_->open_model(engine_, plan, &m, &error_));
  }
  ~Shim() {
    for (auto& m : models_) table_->close_model(m, &error_);
    table_->close_engine(engine_);
    std::free(memory_);
  }

  void load(std::size_t i) {
    gpushim_error e{};
    if (table_->load(models_[i], 0, &e) != GPUSHIM_OK) die(e.message);
  }
  void evict(std::size_t i) {
    gpushim_error e{};
    if (table_->evict(models_[i], 0, &e) != GPUSHIM_OK) die(e.message);
  }
  gpushim_cost cost(std::size_t i) {
    gpushim_cost c{};
    table_->cost(models_[i], 0, &c);
    return c;
  }
  std::size_t freeBytes() {
    gpushim_device d{};
    must(table_->device(engine_, 0, &d, &error_));
    return d.free_bytes;
  }

  // prepare makes the tensors of every run; the first model has been loaded.
  void prepare() {
    gpushim_spec spec{};
    must(table_->spec(models_[0], &spec, &error_));
    input_ = describe(0);
    output_.assign(spec.outputs, gpushim_tensor{});
    output_[0] = describe(spec.inputs);
    const std::size_t page = 4096, at = (input_.bytes + page - 1) / page * page;
    pinnedBytes_ = at + (output_[0].bytes + page - 1) / page * page;
    memory_ = static_cast<char*>(std::aligned_alloc(page, 2 * pinnedBytes_));
    auto* x = reinterpret_cast<float*>(memory_);
    for (std::size_t i = 0; i < input_.bytes / sizeof(float); i++) x[i] = float(i * 2654435761u % 2001) / 1000 - 1;
    std::memcpy(memory_ + pinnedBytes_, memory_, pinnedBytes_);
    must(table_->pin(engine_, memory_, pinnedBytes_, &error_));
    outputAt_ = at;
  }
  void unpin() { must(table_->unpin(engine_, memory_, &error_)); }

  // run uses tensors in memory that is pinned, or not.
  std::string run(std::size_t i, bool pinned = true, std::uint32_t slot = 0) {
    gpushim_error e{};
    char* memory = memory_ + (pinned ? 0 : pinnedBytes_);
    gpushim_tensor in = input_;
    std::vector<gpushim_tensor> out = output_;
    in.data = memory;
    out[0].data = memory + outputAt_;
    if (table_->run(models_[i], 0, slot, &in, out.data(), &e) != GPUSHIM_OK) die(e.message);
    return std::string(memory + outputAt_, out[0].bytes);
  }
  std::size_t inputBytes() const { return input_.bytes; }
  std::size_t outputBytes() const { return output_[0].bytes; }

 private:
  void must(int code) {
    if (code != GPUSHIM_OK) die(error_.message);
  }
  gpushim_tensor describe(uint32_t index) {
    gpushim_tensor_spec s{};
    must(table_->tensor(models_[0], index, &s, &error_));
    Shape shape;
    shape.rank = s.rank;
    std::copy(s.shape, s.shape + s.rank, shape.dims);
    gpushim_tensor t{};
    t.rank = s.rank;
    std::copy(s.shape, s.shape + s.rank, t.shape);
    t.bytes = tensorBytes(s.type, shape);
    return t;
  }

  const gpushim_table* table_ = nullptr;
  gpushim_engine* engine_ = nullptr;
  std::vector<gpushim_model*> models_;
  gpushim_error error_{};
  gpushim_tensor input_{};
  std::vector<gpushim_tensor> output_;
  char* memory_ = nullptr;
  std::size_t pinnedBytes_ = 0, outputAt_ = 0;
};

// ceiling is how long one copy of this many bytes from pinned memory takes.
inline double ceiling(Driver& driver, std::size_t bytes) {
  void* host = nullptr;
  Address device = 0;
  check(driver, driver.allocHost(&host, bytes), "pin");
  check(driver, driver.alloc(&device, bytes), "allocate");
  std::memset(host, 1, bytes);
  std::vector<double> ms;
  {
    OwnedStream stream(driver);
    for (int i = 0; i < 60; i++) {
      const auto t = Clock::now();
      check(driver, driver.copyIn(device, host, bytes, stream.get()), "copy");
      check(driver, driver.waitStream(stream.get()), "copy");
      ms.push_back(msSince(t));
    }
  }
  check(driver, driver.free(device), "free");
  check(driver, driver.freeHost(host), "free");
  return median(ms);
}

struct Quiet : nvinfer1::ILogger {
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", message);
  }
};

// Plain runs the plan with TensorRT's own memory: inputs and outputs are in pinned
// memory already. It has the plan's only input and first output first.
class Plain {
 public:
  Plain(CudaDriver& driver, const std::string& plan, std::size_t inBytes, std::size_t outBytes)
      : driver_(driver), inBytes_(inBytes), outBytes_(outBytes), stream_(driver) {
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    context_.reset(engine_->createExecutionContext());
    const std::size_t bytes[] = {inBytes, outBytes};
    for (int i = 0; i < 2; i++) {
      check(driver_, driver_.allocHost(&host_[i], bytes[i]), "pin");
      check(driver_, driver_.alloc(&device_[i], bytes[i]), "allocate");
      context_->setTensorAddress(engine_->getIOTensorName(i), reinterpret_cast<void*>(device_[i]));
    }
    std::memset(host_[0], 0, inBytes);
  }
  ~Plain() {
    for (int i = 0; i < 2; i++) {
      (void)driver_.free(device_[i]);
      (void)driver_.freeHost(host_[i]);
    }
  }

  // The median of runs; with recorded, the kernels are one CUDA graph.
  double ms(bool recorded) {
    CUgraphExec recording = nullptr;
    if (recorded) {
      check(driver_, driver_.beginRecording(stream_.get()), "record");
      enqueue();
      check(driver_, driver_.endRecording(stream_.get(), &recording), "record");
    }
    std::vector<double> ms;
    for (int i = 0; i < 700; i++) {
      const auto t = Clock::now();
      check(driver_, driver_.copyIn(device_[0], host_[0], inBytes_, stream_.get()), "copy");
      if (recorded) {
        check(driver_, driver_.replay(recording, stream_.get()), "replay");
      } else {
        enqueue();
      }
      check(driver_, driver_.copyOut(host_[1], device_[1], outBytes_, stream_.get()), "copy");
      check(driver_, driver_.waitStream(stream_.get()), "run");
      if (i >= 100) ms.push_back(msSince(t));
    }
    if (recorded) driver_.drop(recording);
    return median(ms);
  }

 private:
  void enqueue() {
    if (!context_->enqueueV3(static_cast<CUstream>(stream_.get()))) die("the plan does not run");
  }

  CudaDriver& driver_;
  const std::size_t inBytes_, outBytes_;
  OwnedStream stream_;
  Quiet logger_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  void* host_[2] = {};
  Address device_[2] = {};
};

}  // namespace gpushim
