// The builder on TensorRT.
#include "../cuda/driver.h"
#include "builder.h"
#include "network.h"
#include "timings.h"

namespace gpushim {

namespace {

#if GPUSHIM_TRT >= 1000
// Monitor reports the steps of the outermost phase.
class Monitor final : public nvinfer1::IProgressMonitor {
 public:
  explicit Monitor(const Progress& progress) : progress_(progress) {}

  void phaseStart(const char* phase, const char* parent, std::int32_t steps) noexcept override {
    if (parent != nullptr) return;
    try {
      outermost_ = phase;
      steps_ = steps;
    } catch (...) {
    }
  }
  bool stepComplete(const char* phase, std::int32_t step) noexcept override {
    if (outermost_ == phase && steps_ > 0) progress_("build", double(step + 1) / steps_);
    return true;
  }
  void phaseFinish(const char*) noexcept override {}

 private:
  const Progress& progress_;
  std::string outermost_;
  std::int32_t steps_ = 0;
};
#endif

class TensorRTPlanBuilder : public PlanBuilder {
 public:
  explicit TensorRTPlanBuilder(const std::string& device) {
    int count = 0;
    if (CUresult r = cuda_.cuDeviceGetCount(&count); r != CUDA_SUCCESS || count == 0) {
      throw Failure(Code::unavailable, "there is no CUDA device: " + cuda_.explain(r));
    }
    for (ordinal_ = 0; ordinal_ < count; ordinal_++) {
      driver_ = std::make_unique<CudaDriver>(cuda_, ordinal_);
      if (device.empty() || device == driver_->id()) break;
    }
    if (ordinal_ == count) throw Failure(Code::unavailable, "there is no device " + device);
    check(*driver_, driver_->enter(), "use the device");
  }

  Description describe() const override {
    CUdevice device = 0;
    int major = 0, minor = 0;
    (void)cuda_.cuDeviceGet(&device, ordinal_);
    (void)cuda_.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device);
    (void)cuda_.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device);
    return {library_.version(), driver_->name(), driver_->id(), std::to_string(major) + "." + std::to_string(minor)};
  }

  std::string build(const BuildOptions& options, const Progress& progress) override {
    Messages messages;
    const std::unique_ptr<nvinfer1::IBuilder> builder = library_.builder(messages);
    if (!builder) throw Failure(Code::unavailable, "TensorRT's builder does not start: " + messages.last());
    builder->setErrorRecorder(&messages);
    progress("parse", -1);
    Network network(library_, *builder, options, messages);
    progress("build", -1);
#if GPUSHIM_TRT >= 1000
    Monitor monitor(progress);
    network.config().setProgressMonitor(&monitor);
#endif
    const TimingCache timings(network.config(), options.timingCache);
    std::unique_ptr<nvinfer1::IHostMemory> plan;
    try {
      plan = network.build();
    } catch (const Failure&) {
      if (driver_->waitAll() == Code::lost) throw Failure(Code::lost, "the device was lost: " + driver_->lastError());
      throw;
    }
    timings.save();
    return std::string(static_cast<const char*>(plan->data()), plan->size());
  }

 private:
  TensorRTLibrary library_;
  CudaLibrary cuda_;
  std::unique_ptr<CudaDriver> driver_;
  int ordinal_ = 0;
};

}  // namespace

std::unique_ptr<PlanBuilder> makePlanBuilder(const std::string& device) {
  return std::make_unique<TensorRTPlanBuilder>(device);
}

}  // namespace gpushim
