// refit makes many plans with different weights out of one ONNX file, as if each
// had been built, in a tenth of a second instead of a minute:
//
//	refit MODEL.onnx BASE.plan TIMINGS                builds BASE.plan, in FP16, with
//	                                                  TIMINGS for a timing cache
//	refit MODEL.onnx BASE.plan DIR FIRST COUNT        writes DIR/SEED.plan for COUNT
//	                                                  seeds from FIRST on
//
// Each weight tensor gets uniform values up to the largest that it had. Equal seeds
// give equal weights. Several of the second form may run at once.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <vector>

#include "../builder/files.h"
#include "../builder/network.h"
#include "../builder/timings.h"
#include "../cuda/driver.h"

namespace {

using namespace gpushim;
using nvinfer1::Weights;
using nvinfer1::WeightsRole;

// Named is where an engine has weights: the layer's name and their role there.
using Named = std::pair<std::string, WeightsRole>;

std::string bytesOf(const nvinfer1::IHostMemory& m) { return std::string(static_cast<const char*>(m.data()), m.size()); }

// weightsOf lists the weights of the network's layers.
std::map<Named, Weights> weightsOf(nvinfer1::INetworkDefinition& network) {
  std::map<Named, Weights> all;
  for (int i = 0; i < network.getNbLayers(); i++) {
    nvinfer1::ILayer* layer = network.getLayer(i);
    const std::string name = layer->getName();
    switch (layer->getType()) {
      case nvinfer1::LayerType::kCONVOLUTION: {
        auto* c = static_cast<nvinfer1::IConvolutionLayer*>(layer);
        all[{name, WeightsRole::kKERNEL}] = c->getKernelWeights();
        all[{name, WeightsRole::kBIAS}] = c->getBiasWeights();
        break;
      }
      case nvinfer1::LayerType::kCONSTANT:
        all[{name, WeightsRole::kCONSTANT}] = static_cast<nvinfer1::IConstantLayer*>(layer)->getWeights();
        break;
#if GPUSHIM_TRT < 1000
      case nvinfer1::LayerType::kFULLY_CONNECTED: {
        auto* f = static_cast<nvinfer1::IFullyConnectedLayer*>(layer);
        all[{name, WeightsRole::kKERNEL}] = f->getKernelWeights();
        all[{name, WeightsRole::kBIAS}] = f->getBiasWeights();
        break;
      }
#endif
      default:  // has no weights in the networks that are measured with
        break;
    }
  }
  return all;
}

float largest(const Weights& w) {
  float most = 0;
  for (std::int64_t i = 0; i < w.count; i++) most = std::max(most, std::fabs(static_cast<const float*>(w.values)[i]));
  return most;
}

// fill writes uniform values in [-bound, bound], the same on every machine.
void fill(std::vector<float>& values, float bound, std::uint64_t state) {
  for (float& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v = (float(state >> 40) / float(1 << 23) - 1) * bound;
  }
}

class Refitter {
 public:
  Refitter(const TensorRTLibrary& library, const std::string& plan, std::map<Named, Weights> weights, Messages& messages)
      : weights_(std::move(weights)), messages_(messages), runtime_(library.runtime(messages)) {
    if (runtime_) engine_.reset(runtime_->deserializeCudaEngine(plan.data(), plan.size()));
    if (engine_) refitter_ = library.refitter(*engine_, messages);
    if (!refitter_) fail("deserialize");
    for (auto i = weights_.begin(); i != weights_.end();) {
      i = i->second.count > 0 && i->second.type == nvinfer1::DataType::kFLOAT ? std::next(i) : weights_.erase(i);
    }
    list();
  }

  std::string refit(std::uint64_t seed) {
    std::vector<std::vector<float>> kept;
    for (const Named& n : names_) {
      const Weights& before = weights_.at(n);
      std::vector<float>& values = kept.emplace_back(std::size_t(before.count));
      fill(values, bounds_[n], seed * 1000003 + kept.size());
      if (!refitter_->setWeights(n.first.c_str(), n.second, Weights{before.type, values.data(), before.count})) {
        fail(("set the weights of " + n.first).c_str());
      }
    }
    if (!refitter_->refitCudaEngine()) fail("refit");
    const std::unique_ptr<nvinfer1::IHostMemory> plan(engine_->serialize());
    if (!plan) fail("serialize");
    return bytesOf(*plan);
  }

 private:
  // list finds those weights of the engine that the network has too.
  void list() {
    const int count = refitter_->getAll(0, nullptr, nullptr);
    std::vector<const char*> layers(static_cast<std::size_t>(count));
    std::vector<WeightsRole> roles(layers.size());
    refitter_->getAll(count, layers.data(), roles.data());
    for (std::size_t i = 0; i < layers.size(); i++) {
      const Named n(layers[i], roles[i]);
      auto w = weights_.find(n);
      if (w == weights_.end()) continue;
      names_.push_back(n);
      bounds_[n] = largest(w->second);
    }
    if (names_.empty()) throw Failure(Code::badModel, "the plan has no weights that can be changed");
  }

  [[noreturn]] void fail(const char* what) {
    throw Failure(Code::failed, std::string("cannot ") + what + ": " + messages_.last());
  }

  std::map<Named, Weights> weights_;
  Messages& messages_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IRefitter> refitter_;
  std::vector<Named> names_;
  std::map<Named, float> bounds_;
};

void run(int argc, char** argv) {
  const CudaLibrary cuda;
  CudaDriver driver(cuda, 0);
  check(driver, driver.enter(), "use the device");
  const TensorRTLibrary library;
  Messages messages;
  const std::unique_ptr<nvinfer1::IBuilder> builder = library.builder(messages);
  if (!builder) throw Failure(Code::unavailable, "TensorRT's builder does not start: " + messages.last());
  BuildOptions options;
  options.onnx = argv[1];
  Network network(library, *builder, options, messages);
  if (argc == 4) {
    network.config().setFlag(nvinfer1::BuilderFlag::kREFIT);
    const TimingCache timings(network.config(), argv[3]);
    replaceFile(argv[2], bytesOf(*network.build()));
    timings.save();
    return;
  }
  Refitter refitter(library, readFile(argv[2]), weightsOf(network.definition()), messages);
  const std::uint64_t first = std::strtoull(argv[4], nullptr, 10), count = std::strtoull(argv[5], nullptr, 10);
  for (std::uint64_t seed = first; seed < first + count; seed++) {
    replaceFile(std::string(argv[3]) + "/" + std::to_string(seed) + ".plan", refitter.refit(seed));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 6) {
    std::fprintf(stderr, "usage: refit MODEL.onnx BASE.plan TIMINGS | DIR FIRST COUNT\n");
    return 2;
  }
  try {
    run(argc, argv);
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "refit: %s\n", e.what());
    return 1;
  }
}
