// The backend on CUDA and TensorRT.
#include "../program.h"
#include "driver.h"
#include "tensorrt.h"

namespace gpushim {

namespace {

class CudaBackend : public Backend {
 public:
  explicit CudaBackend(const std::string& settings) : runtime_(setting(settings, "nvinfer")) {
    int count = 0;
    if (CUresult r = cuda_.cuDeviceGetCount(&count); r != CUDA_SUCCESS || count == 0) {
      throw Failure(Code::unavailable, "there is no CUDA device: " + cuda_.explain(r));
    }
    for (int i = 0; i < count; i++) drivers_.push_back(std::make_unique<CudaDriver>(cuda_, i));
  }

  std::size_t devices() const override { return drivers_.size(); }
  Driver& driver(std::size_t device) override { return *drivers_[device]; }

  DeviceInfo info(std::size_t device) override {
    const CudaDriver& d = *drivers_[device];
    DeviceInfo info;
    info.id = d.id();
    info.name = d.name();
    info.unified = d.integrated();
    if (!d.remaps()) return info;
    // 32, 8 and 2 MiB on the GPUs of today. While 8 MiB are copied, one granule can be
    // mapped: all but the rests are that large, whatever comes and goes.
    const std::size_t g = d.granularity();
    info.granules = {16 * g, 4 * g, g};
    info.small = g / 2;
    return info;
  }

  std::unique_ptr<Loader> loader(std::size_t device, Memory& memory) override {
    return runtime_.loader(*drivers_[device], memory);
  }

 private:
  CudaLibrary cuda_;
  TensorRT runtime_;
  std::vector<std::unique_ptr<CudaDriver>> drivers_;
};

}  // namespace

std::unique_ptr<Backend> makeBackend(const std::string& settings) { return std::make_unique<CudaBackend>(settings); }

const char* describeBackend() { return TensorRT::version(); }

}  // namespace gpushim
