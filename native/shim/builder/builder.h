// What gpushim-build does, as an interface: TensorRT behind it, or the double's
// plans. The program is a process of its own, so that what a build takes and
// breaks is not the server's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "../driver.h"

namespace gpushim {

struct BuildOptions {
  std::string onnx, out;
  std::string precision = "fp16";  // or fp32
  std::int64_t batch = 1;          // most, for models whose first dimension is dynamic
  std::string timingCache;         // a file; empty: none
  std::uint64_t workspace = 0;     // most bytes of device memory for a layer; 0: TensorRT's own limit
  std::string device;              // as Description.uuid; empty: the first one
};

// Description is what a plan is good for: it loads where all of it but the name
// and the UUID is the same.
struct Description {
  std::string tensorrt;  // version
  std::string device, uuid;
  std::string sm;  // compute capability
};

// Progress is called as the build goes on. fraction, from 0 to 1, is negative
// where it is not known.
using Progress = std::function<void(const char* phase, double fraction)>;

class PlanBuilder {
 public:
  virtual ~PlanBuilder() = default;
  virtual Description describe() const = 0;
  // The plan's bytes. Throws badModel for an ONNX file that is none or that cannot
  // be a plan.
  virtual std::string build(const BuildOptions& options, const Progress& progress) = 0;
};

// Defined once in each program. Throws unavailable where a library or the device
// is missing.
std::unique_ptr<PlanBuilder> makePlanBuilder(const std::string& device);

}  // namespace gpushim
