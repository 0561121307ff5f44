// TensorRT with its builder and its ONNX parser, loaded when they are needed.
#pragma once

#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <memory>
#include <mutex>
#include <string>

#define GPUSHIM_TRT (NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR)

namespace gpushim {

class TensorRTLibrary {
 public:
  // Throws Failure(unavailable).
  TensorRTLibrary();

  // Of the library that was found, e.g. "8.5.3".
  std::string version() const;
  // These are null where TensorRT refuses; the logger hears why.
  std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::ILogger& logger) const;
  std::unique_ptr<nvonnxparser::IParser> parser(nvinfer1::INetworkDefinition& network, nvinfer1::ILogger& logger) const;
  std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::ILogger& logger) const;
  std::unique_ptr<nvinfer1::IRefitter> refitter(nvinfer1::ICudaEngine& engine, nvinfer1::ILogger& logger) const;

 private:
  using Create = void* (*)(void* logger, std::int32_t version);
  using CreateFor = void* (*)(void* what, void* logger, int version);

  std::int32_t (*version_)() = nullptr;
  Create builder_ = nullptr, runtime_ = nullptr;
  CreateFor parser_ = nullptr, refitter_ = nullptr;
};

// What TensorRT says, kept: what it said last as an error, and whether memory was
// missing. Warnings go to standard error. TensorRT calls it from several threads.
class Messages final : public nvinfer1::ILogger, public nvinfer1::IErrorRecorder {
 public:
  void log(Severity severity, const char* message) noexcept override;

  // It only takes errors: nobody asks for them back through this interface.
  std::int32_t getNbErrors() const noexcept override { return 0; }
  nvinfer1::ErrorCode getErrorCode(std::int32_t) const noexcept override { return nvinfer1::ErrorCode::kSUCCESS; }
  ErrorDesc getErrorDesc(std::int32_t) const noexcept override { return ""; }
  bool hasOverflowed() const noexcept override { return false; }
  void clear() noexcept override {}
  bool reportError(nvinfer1::ErrorCode code, ErrorDesc text) noexcept override;
  RefCount incRefCount() noexcept override { return 1; }
  RefCount decRefCount() noexcept override { return 1; }

  std::string last() const;
  bool noMemory() const;

 private:
  void keep(const char* message) noexcept;

  mutable std::mutex mutex_;
  char last_[512] = "TensorRT does not say why";
  bool noMemory_ = false;
};

}  // namespace gpushim
