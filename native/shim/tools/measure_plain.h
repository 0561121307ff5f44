// What measure compares with: copies, and TensorRT alone.
#pragma once

#include <NvInfer.h>

#include "../cuda/driver.h"
#include "measure_shim.h"

namespace gpushim {

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
