#include "network.h"

#include <type_traits>

#include "files.h"

namespace gpushim {

Network::Network(const TensorRTLibrary& library, nvinfer1::IBuilder& builder, const BuildOptions& options,
                 Messages& messages)
    : builder_(builder), messages_(messages) {
  constexpr unsigned kExplicitBatch = 1;  // needed before TensorRT 10, and without effect since
  definition_.reset(builder_.createNetworkV2(kExplicitBatch));
  config_.reset(builder_.createBuilderConfig());
  if (!definition_ || !config_) throw Failure(Code::failed, "TensorRT's builder does not start: " + messages_.last());
  parse(library, options.onnx);
  configure(options);
}

void Network::parse(const TensorRTLibrary& library, const std::string& path) {
  parser_ = library.parser(*definition_, messages_);
  if (!parser_) throw Failure(Code::failed, "TensorRT's ONNX parser does not start: " + messages_.last());
  file_ = readFile(path);
  if (parser_->parse(file_.data(), file_.size())) return;
  const std::string why = parser_->getNbErrors() > 0 ? parser_->getError(0)->desc() : messages_.last();
  throw Failure(Code::badModel, "TensorRT cannot read the ONNX file: " + why);
}

void Network::configure(const BuildOptions& options) {
  if (options.precision == "fp16") {
#if GPUSHIM_TRT < 1100
    config_->setFlag(nvinfer1::BuilderFlag::kFP16);
#else
    throw Failure(Code::badModel,
                  "TensorRT 11 and later compute with the datatypes of the ONNX file: convert the file to FP16, "
                  "and ask for fp32, which leaves them as they are");
#endif
  }
#if GPUSHIM_TRT < 1000
  // TensorRT's own kernels only: cuBLAS and cuDNN may be missing, and each
  // deserialized engine would hold device memory for them. (Later versions leave
  // them out by themselves.)
  config_->setTacticSources(0);
#endif
  if (options.workspace > 0) {
#if GPUSHIM_TRT >= 804
    config_->setMemoryPoolLimit(nvinfer1::MemoryPoolType::kWORKSPACE, options.workspace);
#else
    config_->setMaxWorkspaceSize(options.workspace);
#endif
  }
  allowBatches(options.batch);
}

// allowBatches makes a profile where the first dimension of an input is dynamic:
// batches from 1 to most, fastest for most.
void Network::allowBatches(std::int64_t most) {
  nvinfer1::IOptimizationProfile* profile = nullptr;
  for (int i = 0; i < definition_->getNbInputs(); i++) {
    const nvinfer1::ITensor& input = *definition_->getInput(i);
    nvinfer1::Dims d = input.getDimensions();
    bool dynamic = false;
    for (int k = 0; k < d.nbDims; k++) {
      if (d.d[k] >= 0) continue;
      if (k > 0) {
        throw Failure(Code::badModel, std::string("dimension ") + std::to_string(k) + " of the input \"" + input.getName() +
                                          "\" is dynamic: only the first one can be");
      }
      dynamic = true;
    }
    if (!dynamic) continue;
    if (profile == nullptr) profile = builder_.createOptimizationProfile();
    using Selector = nvinfer1::OptProfileSelector;
    d.d[0] = 1;
    profile->setDimensions(input.getName(), Selector::kMIN, d);
    d.d[0] = static_cast<std::remove_reference_t<decltype(d.d[0])>>(most);
    profile->setDimensions(input.getName(), Selector::kOPT, d);
    profile->setDimensions(input.getName(), Selector::kMAX, d);
  }
  if (profile != nullptr) config_->addOptimizationProfile(profile);
}

std::unique_ptr<nvinfer1::IHostMemory> Network::build() {
  std::unique_ptr<nvinfer1::IHostMemory> plan(builder_.buildSerializedNetwork(*definition_, *config_));
  if (plan) return plan;
  if (messages_.noMemory()) throw Failure(Code::noMemory, "the build needs more device memory: " + messages_.last());
  throw Failure(Code::badModel, "TensorRT makes no engine of it: " + messages_.last());
}

}  // namespace gpushim
