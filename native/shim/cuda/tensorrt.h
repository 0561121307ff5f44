// TensorRT, loaded when it is needed.
#pragma once

#include <memory>
#include <string>

#include "../program.h"
#include "driver.h"

namespace gpushim {

class TensorRT {
 public:
  // library: the path of libnvinfer.so, or empty for that of the version that
  // this was built for. Throws Failure(unavailable).
  explicit TensorRT(const std::string& library);

  // The version that this was built for.
  static const char* version();
  // A loader for the device, whose context is current.
  std::unique_ptr<Loader> loader(CudaDriver& driver, Memory& memory) const;

 private:
  void* create_ = nullptr;
};

}  // namespace gpushim
