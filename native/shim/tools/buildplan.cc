// buildplan makes a TensorRT plan of an ONNX file, in FP16, for the GPU that it
// runs on:
//
//	buildplan MODEL.onnx MODEL.plan [MAX_BATCH]
//
// MAX_BATCH is for models whose first dimension is dynamic.
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>

namespace {

class Logger : public nvinfer1::ILogger {
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", message);
  }
};

// setProfile allows batches from 1 to most.
void setProfile(nvinfer1::IBuilder& builder, nvinfer1::INetworkDefinition& network, nvinfer1::IBuilderConfig& config,
                int most) {
  nvinfer1::IOptimizationProfile* profile = builder.createOptimizationProfile();
  for (int i = 0; i < network.getNbInputs(); i++) {
    const nvinfer1::ITensor& input = *network.getInput(i);
    nvinfer1::Dims d = input.getDimensions();
    d.d[0] = 1;
    profile->setDimensions(input.getName(), nvinfer1::OptProfileSelector::kMIN, d);
    d.d[0] = most;
    profile->setDimensions(input.getName(), nvinfer1::OptProfileSelector::kOPT, d);
    profile->setDimensions(input.getName(), nvinfer1::OptProfileSelector::kMAX, d);
  }
  config.addOptimizationProfile(profile);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: buildplan MODEL.onnx MODEL.plan [MAX_BATCH]\n");
    return 2;
  }
  Logger logger;
  std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::createInferBuilder(logger));
  if (!builder) return 1;
  constexpr unsigned explicitBatch = 1;
  std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(explicitBatch));
  std::unique_ptr<nvonnxparser::IParser> parser(nvonnxparser::createParser(*network, logger));
  if (!parser->parseFromFile(argv[1], int(nvinfer1::ILogger::Severity::kERROR))) return 1;
  std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  config->setFlag(nvinfer1::BuilderFlag::kFP16);
  config->setTacticSources(0);  // TensorRT's own kernels: cuBLAS and cuDNN may be missing
  if (argc > 3) setProfile(*builder, *network, *config, std::atoi(argv[3]));
  std::unique_ptr<nvinfer1::IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  if (!plan) return 1;
  std::ofstream(argv[2], std::ios::binary).write(static_cast<const char*>(plan->data()), std::streamsize(plan->size()));
  std::printf("%s: %zu bytes\n", argv[2], plan->size());
  return 0;
}
