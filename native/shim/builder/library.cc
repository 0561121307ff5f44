#include "library.h"

#include <dlfcn.h>

#include <cstdio>

#include "../driver.h"

namespace gpushim {

namespace {

#define GPUSHIM_STRING2(x) #x
#define GPUSHIM_STRING(x) GPUSHIM_STRING2(x)
#define GPUSHIM_SONAME(name) "lib" name ".so." GPUSHIM_STRING(NV_TENSORRT_MAJOR)

void* load(const char* name) {
  // What only models with plugins need may be missing.
  void* library = dlopen(name, RTLD_LAZY | RTLD_GLOBAL);
  if (library == nullptr) {
    throw Failure(Code::unavailable, std::string("TensorRT " GPUSHIM_STRING(NV_TENSORRT_MAJOR) " cannot be loaded: ") + dlerror());
  }
  return library;
}

template <typename F>
void find(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, name));
  if (*function == nullptr) throw Failure(Code::unavailable, std::string("TensorRT has no ") + name);
}

}  // namespace

TensorRTLibrary::TensorRTLibrary() {
  void* const infer = load(GPUSHIM_SONAME("nvinfer"));
  void* const onnx = load(GPUSHIM_SONAME("nvonnxparser"));
  find(infer, "getInferLibVersion", &version_);
  find(infer, "createInferBuilder_INTERNAL", &builder_);
  find(infer, "createInferRuntime_INTERNAL", &runtime_);
  find(infer, "createInferRefitter_INTERNAL", &refitter_);
  find(onnx, "createNvOnnxParser_INTERNAL", &parser_);
}

std::string TensorRTLibrary::version() const {
  const int v = version_();
  const int major = v < 10000 ? v / 1000 : v / 10000;  // 8503 and 101500 are 8.5.3 and 10.15.0
  const int minor = v < 10000 ? v % 1000 / 100 : v % 10000 / 100;
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(v % 100);
}

std::unique_ptr<nvinfer1::IBuilder> TensorRTLibrary::builder(nvinfer1::ILogger& logger) const {
  return std::unique_ptr<nvinfer1::IBuilder>(static_cast<nvinfer1::IBuilder*>(builder_(&logger, NV_TENSORRT_VERSION)));
}

std::unique_ptr<nvonnxparser::IParser> TensorRTLibrary::parser(nvinfer1::INetworkDefinition& network,
                                                               nvinfer1::ILogger& logger) const {
  return std::unique_ptr<nvonnxparser::IParser>(
      static_cast<nvonnxparser::IParser*>(parser_(&network, &logger, NV_ONNX_PARSER_VERSION)));
}

std::unique_ptr<nvinfer1::IRuntime> TensorRTLibrary::runtime(nvinfer1::ILogger& logger) const {
  return std::unique_ptr<nvinfer1::IRuntime>(static_cast<nvinfer1::IRuntime*>(runtime_(&logger, NV_TENSORRT_VERSION)));
}

std::unique_ptr<nvinfer1::IRefitter> TensorRTLibrary::refitter(nvinfer1::ICudaEngine& engine,
                                                               nvinfer1::ILogger& logger) const {
  return std::unique_ptr<nvinfer1::IRefitter>(
      static_cast<nvinfer1::IRefitter*>(refitter_(&engine, &logger, NV_TENSORRT_VERSION)));
}

void Messages::log(Severity severity, const char* message) noexcept {
  if (severity <= Severity::kERROR) keep(message);
  if (severity == Severity::kWARNING) std::fprintf(stderr, "%s\n", message);
}

bool Messages::reportError(nvinfer1::ErrorCode code, ErrorDesc text) noexcept {
  keep(text);
  if (code == nvinfer1::ErrorCode::kFAILED_ALLOCATION) {
    const std::lock_guard<std::mutex> lock(mutex_);
    noMemory_ = true;
  }
  return true;
}

void Messages::keep(const char* message) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::snprintf(last_, sizeof last_, "%s", message);
}

std::string Messages::last() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return last_;
}

bool Messages::noMemory() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return noMemory_;
}

}  // namespace gpushim
