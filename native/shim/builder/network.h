// From an ONNX file to what TensorRT builds.
#pragma once

#include "builder.h"
#include "library.h"

namespace gpushim {

// Network is a parsed ONNX file with the configuration of its build.
class Network {
 public:
  // Throws badModel where the parser does not take the file.
  Network(const TensorRTLibrary& library, nvinfer1::IBuilder& builder, const BuildOptions& options, Messages& messages);

  // The serialized engine. Throws badModel where TensorRT makes none.
  std::unique_ptr<nvinfer1::IHostMemory> build();

  nvinfer1::INetworkDefinition& definition() { return *definition_; }
  nvinfer1::IBuilderConfig& config() { return *config_; }

 private:
  void parse(const TensorRTLibrary& library, const std::string& path);
  void configure(const BuildOptions& options);
  void allowBatches(std::int64_t most);

  nvinfer1::IBuilder& builder_;
  Messages& messages_;
  std::string file_;  // the parser's weights point into it
  std::unique_ptr<nvinfer1::INetworkDefinition> definition_;
  std::unique_ptr<nvonnxparser::IParser> parser_;
  std::unique_ptr<nvinfer1::IBuilderConfig> config_;
};

}  // namespace gpushim
