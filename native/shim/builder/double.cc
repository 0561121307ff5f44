// The builder of the double's plans, for machines without a GPU. The plan gives
// the same bits as the ONNX model does elsewhere. The environment makes builds
// slow, large or fail:
//
//	GPUSHIM_DOUBLE_BUILD_MS       milliseconds that a build takes, 0 by default
//	GPUSHIM_DOUBLE_BUILD_FAIL     bad_model, no_memory, device_lost, failed: the
//	                              build ends with that error; abort: the process dies
//	GPUSHIM_DOUBLE_BUILD_WEIGHTS  at least so many FP32 weights, most of them zero
//	GPUSHIM_DOUBLE_BUILD_MICROS   that each run of the plan takes
//	GPUSHIM_DOUBLE_BUILD_STATIC   set: the plan has no batch dimension
//	GPUSHIM_DOUBLE_VERSION        the version that --describe states, 1 by default
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <thread>

#include "../double/plan.h"
#include "builder.h"
#include "files.h"
#include "onnx.h"

namespace gpushim {

namespace {

std::string variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : otherwise;
}

std::uint64_t number(const char* name) { return std::strtoull(variable(name, "0").c_str(), nullptr, 10); }

void failAsAsked() {
  const std::string how = variable("GPUSHIM_DOUBLE_BUILD_FAIL", "");
  if (how.empty()) return;
  if (how == "abort") std::abort();
  const std::map<std::string, Code> codes = {
      {"bad_model", Code::badModel}, {"no_memory", Code::noMemory}, {"device_lost", Code::lost}};
  const auto code = codes.find(how);
  throw Failure(code == codes.end() ? Code::failed : code->second, "GPUSHIM_DOUBLE_BUILD_FAIL is " + how);
}

class DoublePlanBuilder : public PlanBuilder {
 public:
  Description describe() const override {
    return {variable("GPUSHIM_DOUBLE_VERSION", "1"), "driver double", "GPU-double", "0.0"};
  }

  std::string build(const BuildOptions& options, const Progress& progress) override {
    progress("parse", -1);
    std::vector<float> factors = scaleFactors(readFile(options.onnx));
    constexpr int kSteps = 10;
    for (int i = 0; i < kSteps; i++) {
      progress("build", double(i) / kSteps);
      std::this_thread::sleep_for(std::chrono::milliseconds(number("GPUSHIM_DOUBLE_BUILD_MS")) / kSteps);
    }
    failAsAsked();
    // As a builder that keeps timings would: they are there the next time.
    if (!options.timingCache.empty()) replaceFile(options.timingCache, "timings of the driver double");

    PlanHeader header{};
    header.inputs = header.outputs = std::uint32_t(factors.size());
    header.maxBatch = variable("GPUSHIM_DOUBLE_BUILD_STATIC", "").empty() ? std::uint32_t(options.batch) : 0;
    header.flags = kPlanScale;
    header.micros = std::uint32_t(number("GPUSHIM_DOUBLE_BUILD_MICROS"));
    header.blocks = 1;
    // Weights after the factors add zero to the outputs.
    factors.resize(std::max<std::size_t>(factors.size(), number("GPUSHIM_DOUBLE_BUILD_WEIGHTS")), 0.0f);
    return makePlan(header, factors);
  }
};

}  // namespace

std::unique_ptr<PlanBuilder> makePlanBuilder(const std::string& device) {
  if (!device.empty() && device != "GPU-double") {
    throw Failure(Code::unavailable, "there is no device " + device + ": the driver double is GPU-double");
  }
  return std::make_unique<DoublePlanBuilder>();
}

}  // namespace gpushim
