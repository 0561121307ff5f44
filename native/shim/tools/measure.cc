// measure compares the shim with what bounds it, on a GPU:
//
//	measure LIBGPUSHIM MODEL.plan MODELS NAME [LOADERS]
//
// It opens the plan MODELS times (each with weights of its own in memory) and
// prints one line of JSON. Every output is compared with the first one of its
// model, bit by bit.
#include <NvInfer.h>
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../cuda/driver.h"
#include "../program.h"

using gpushim::check;
using Clock = std::chrono::steady_clock;

namespace {

double msSince(Clock::time_point t) { return std::chrono::duration<double, std::milli>(Clock::now() - t).count(); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "measure: %s\n", why.c_str());
  std::exit(1);
}

class Quiet : public nvinfer1::ILogger {
  void log(Severity severity, const char* message) noexcept override {
    if (severity <= Severity::kERROR) std::fprintf(stderr, "%s\n", message);
  }
};

// Shim is an engine behind the C table, with copies of one plan.
class Shim {
 public:
  Shim(const char* library, const char* plan, int models) {
    void* loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) die(dlerror());
    auto get = reinterpret_cast<const gpushim_table* (*)(uint32_t)>(dlsym(loaded, "gpushim_get"));
    table = get(GPUSHIM_VERSION);
    gpushim_config config{};
    config.slots = 2;
    must(table->open_engine(&config, &engine, &error));
    models_.resize(std::size_t(models));
    for (auto& m : models_) must(table->open_model(engine, plan, &m, &error));
  }
  ~Shim() {
    for (auto& m : models_) table->close_model(m, &error);
    table->close_engine(engine);
  }

  void must(int code) {
    if (code != GPUSHIM_OK) die(error.message);
  }
  void load(std::size_t i) {
    gpushim_error e{};
    if (table->load(models_[i], 0, &e) != GPUSHIM_OK) die(e.message);
  }
  void evict(std::size_t i) { must(table->evict(models_[i], 0, &error)); }
  gpushim_cost cost(std::size_t i) {
    gpushim_cost c{};
    table->cost(models_[i], 0, &c);
    return c;
  }
  std::size_t freeBytes() {
    gpushim_device d{};
    must(table->device(engine, 0, &d, &error));
    return d.free_bytes;
  }

  // prepare makes tensors of the first input and output; the plan has one each.
  void prepare() {
    input = describe(0);
    output = describe(1);
    in.resize(input.bytes);
    auto* x = reinterpret_cast<float*>(in.data());
    for (std::size_t i = 0; i < in.size() / sizeof(float); i++) x[i] = float(i * 2654435761u % 2001) / 1000 - 1;
    out.resize(output.bytes);
    input.data = in.data();
    output.data = out.data();
  }
  const std::vector<char>& run(std::size_t i) {
    must(table->run(models_[i], 0, 0, &input, &output, &error));
    return out;
  }

  const gpushim_table* table = nullptr;
  gpushim_tensor input{}, output{};
  std::vector<char> in, out;

 private:
  gpushim_tensor describe(uint32_t index) {
    gpushim_tensor_spec s{};
    must(table->tensor(models_[0], index, &s, &error));
    gpushim::Shape shape;
    shape.rank = s.rank;
    std::copy(s.shape, s.shape + s.rank, shape.dims);
    gpushim_tensor t{};
    t.rank = s.rank;
    std::copy(s.shape, s.shape + s.rank, t.shape);
    t.bytes = gpushim::tensorBytes(s.type, shape);
    return t;
  }

  gpushim_engine* engine = nullptr;
  std::vector<gpushim_model*> models_;
  gpushim_error error{};
};

// ceiling is how long one copy of this many bytes from pinned memory takes.
double ceiling(gpushim::Driver& driver, std::size_t bytes) {
  void* host = nullptr;
  gpushim::Address device = 0;
  check(driver, driver.allocHost(&host, bytes), "pin");
  check(driver, driver.alloc(&device, bytes), "allocate");
  std::memset(host, 1, bytes);
  std::vector<double> ms;
  {
    gpushim::OwnedStream stream(driver);
    for (int i = 0; i < 60; i++) {
      const auto t = Clock::now();
      check(driver, driver.copyIn(device, host, bytes, stream.get()), "copy");
      check(driver, driver.waitStream(stream.get()), "copy");
      ms.push_back(msSince(t));
    }
  }
  check(driver, driver.free(device), "free");
  check(driver, driver.freeHost(host), "free");
  return median(ms);
}

// plain is a run of the plan with TensorRT's own memory: inputs and outputs are in
// pinned memory already.
double plain(gpushim::Driver& driver, const std::vector<char>& plan, std::size_t inBytes, std::size_t outBytes) {
  Quiet logger;
  std::unique_ptr<nvinfer1::IRuntime> runtime(nvinfer1::createInferRuntime(logger));
  std::unique_ptr<nvinfer1::ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
  std::unique_ptr<nvinfer1::IExecutionContext> context(engine->createExecutionContext());
  void *in = nullptr, *out = nullptr;
  gpushim::Address din = 0, dout = 0;
  check(driver, driver.allocHost(&in, inBytes), "pin");
  check(driver, driver.allocHost(&out, outBytes), "pin");
  check(driver, driver.alloc(&din, inBytes), "allocate");
  check(driver, driver.alloc(&dout, outBytes), "allocate");
  context->setTensorAddress(engine->getIOTensorName(0), reinterpret_cast<void*>(din));
  context->setTensorAddress(engine->getIOTensorName(1), reinterpret_cast<void*>(dout));
  std::vector<double> ms;
  {
    gpushim::OwnedStream stream(driver);
    for (int i = 0; i < 600; i++) {
      const auto t = Clock::now();
      check(driver, driver.copyIn(din, in, inBytes, stream.get()), "copy");
      if (!context->enqueueV3(static_cast<CUstream>(stream.get()))) die("the plan does not run");
      check(driver, driver.copyOut(out, dout, outBytes, stream.get()), "copy");
      check(driver, driver.waitStream(stream.get()), "run");
      if (i >= 100) ms.push_back(msSince(t));
    }
  }
  check(driver, driver.free(din), "free");
  check(driver, driver.free(dout), "free");
  check(driver, driver.freeHost(in), "free");
  check(driver, driver.freeHost(out), "free");
  return median(ms);
}

// allMisses runs the models in turn, and evicts each at once; loaders are threads
// that load what comes next.
double allMisses(Shim& shim, std::size_t models, int loaders, int requests, const std::vector<char>& want, int* wrong) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> ready(std::size_t(requests), false);
  int next = 0, done = 0;
  auto loader = [&] {
    for (;;) {
      int i;
      {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return next == requests || next - done < 3; });
        if (next == requests) return;
        i = next++;
      }
      shim.load(std::size_t(i) % models);
      std::lock_guard<std::mutex> lock(mutex);
      ready[std::size_t(i)] = true;
      changed.notify_all();
    }
  };
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < loaders; i++) threads.emplace_back(loader);
  for (int i = 0; i < requests; i++) {
    {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return bool(ready[std::size_t(i)]); });
    }
    *wrong += shim.run(std::size_t(i) % models) != want;
    shim.evict(std::size_t(i) % models);
    std::lock_guard<std::mutex> lock(mutex);
    done = i + 1;
    changed.notify_all();
  }
  for (auto& t : threads) t.join();
  return msSince(start) / requests;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) die("usage: measure LIBGPUSHIM MODEL.plan MODELS NAME [LOADERS]");
  const std::size_t models = std::size_t(std::max(4, std::atoi(argv[3])));
  std::ifstream file(argv[2], std::ios::binary);
  const std::vector<char> plan((std::istreambuf_iterator<char>(file)), {});
  const int loaders = argc > 5 ? std::atoi(argv[5]) : 1;
  gpushim::CudaLibrary cuda;
  gpushim::CudaDriver driver(cuda, 0);
  check(driver, driver.enter(), "use the device");

  Shim shim(argv[1], argv[2], int(models));
  std::vector<double> first, evicts, loads, misses, hits;
  std::vector<char> want;
  int wrong = 0;
  std::size_t before = 0;
  for (std::size_t i = 0; i < models; i++) {
    auto t = Clock::now();
    shim.load(i);
    first.push_back(msSince(t));
    if (i == 0) shim.prepare();
    if (i == 0) want = shim.run(i);
    wrong += shim.run(i) != want;
    shim.evict(i);
    if (i == 0) before = shim.freeBytes();
  }
  const double residual = (double(before) - double(shim.freeBytes())) / double(models - 1);
  const gpushim_cost cost = shim.cost(1);  // the first one's load also made what all share
  const std::size_t weights = cost.resident - cost.residual;

  const std::size_t image = cost.host - (64 << 10);  // Model adds that for its lists
  const double wire = ceiling(driver, image);
  const double native = plain(driver, plan, shim.in.size(), shim.out.size());
  const std::size_t freeBefore = shim.freeBytes();
  for (int i = 0; i < 400; i++) {
    const std::size_t m = std::size_t(i) % models;
    const auto t = Clock::now();
    shim.load(m);
    loads.push_back(msSince(t));
    wrong += shim.run(m) != want;
    misses.push_back(msSince(t));
    const auto e = Clock::now();
    shim.evict(m);
    evicts.push_back(msSince(e));
  }
  shim.load(0);
  for (int i = 0; i < 600; i++) {
    const auto t = Clock::now();
    const std::vector<char>& out = shim.run(0);
    if (i >= 100) hits.push_back(msSince(t));
    wrong += out != want;
  }
  shim.evict(0);
  const double all = allMisses(shim, models, loaders, 1000, want, &wrong);
  const double drift = (double(freeBefore) - double(shim.freeBytes())) / 1e6;
  const double hit = median(hits), miss = median(misses), load = median(loads);
  std::printf(
      "{\"model\": \"%s\", \"models\": %zu, \"weights_bytes\": %zu, \"image_bytes\": %zu, \"residual_mb_per_model\": %.3f, "
      "\"residual_stated_mb\": %.3f, \"first_load_ms\": %.2f, \"later_first_load_ms\": %.2f, \"ceiling_ms\": %.4f, "
      "\"ceiling_gb_s\": %.2f, \"load_ms\": %.4f, \"h2d_fraction\": %.4f, \"evict_ms\": %.4f, \"native_ms\": %.4f, "
      "\"hit_ms\": %.4f, \"hit_over_native\": %.4f, \"miss_ms\": %.4f, \"miss_over_bound\": %.4f, \"all_miss_ms\": %.4f, "
      "\"all_miss_over_bound\": %.4f, \"swaps\": %d, \"wrong_outputs\": %d, \"driver_drift_mb\": %.3f}\n",
      argv[4], models, weights, image, residual / 1e6, double(cost.residual) / 1e6, first[0],
      median(std::vector<double>(first.begin() + 1, first.end())), wire, double(image) / wire / 1e6, load, wire / load,
      median(evicts), native, hit, hit / native, miss, miss / (wire + hit), all, all / std::max(wire, hit), 1401, wrong,
      drift);
  return wrong == 0 ? 0 : 1;
}
