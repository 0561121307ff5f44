// What the tests share.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>

#include "../double/backend.h"
#include "../double/plan.h"
#include "../model.h"

namespace gpushim {

constexpr std::size_t kGranularity = 64 << 10;

// Seed of a randomised test: from the environment, or new; always printed.
inline std::uint64_t newSeed() {
  const char* given = std::getenv("SHIM_SEED");
  const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::printf("SHIM_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

// PlanFile is a plan on disk, with what it computes.
class PlanFile {
 public:
  explicit PlanFile(std::size_t weights, std::uint64_t seed = 1, std::uint32_t maxBatch = 0, std::uint32_t micros = 0,
                    std::uint32_t flags = 0) {
    PlanHeader h{};
    h.inputs = 16;
    h.outputs = 8;
    h.maxBatch = maxBatch;
    h.micros = micros;
    h.flags = flags;
    h.blocks = 3;
    h.weights = weights;
    bytes = makePlan(h, seed);
    path = ::testing::TempDir() + "plan-" + std::to_string(getpid()) + "-" + std::to_string(++count());
    std::ofstream(path, std::ios::binary) << bytes;
  }
  PlanFile(PlanFile&& o) noexcept : path(std::move(o.path)), bytes(std::move(o.bytes)) { o.path.clear(); }
  ~PlanFile() {
    if (!path.empty()) std::remove(path.c_str());
  }

  // y for one row, in the order of additions that the plan has.
  std::vector<float> answer(const std::vector<float>& x) const {
    PlanHeader h;
    std::memcpy(&h, bytes.data(), sizeof h);
    std::vector<float> w(h.weights), y(h.outputs);
    std::memcpy(w.data(), bytes.data() + sizeof h, w.size() * sizeof(float));
    for (std::size_t k = 0; k < w.size(); k++) y[k % h.outputs] += w[k] * x[k % h.inputs];
    return y;
  }

  std::string path, bytes;

 private:
  static std::atomic<int>& count() {
    static std::atomic<int> n{0};
    return n;
  }
};

// Node is an engine on the double, without the C table.
struct Node {
  explicit Node(DoubleOptions options = DoubleOptions(), std::size_t budget = 0, std::size_t hostBudget = 0,
                bool noRemap = false)
      : backend(std::move(options)), host(hostBudget) {
    devices.push_back(std::make_unique<Device>(backend, 0, host, DeviceOptions{budget, 2, 2, noRemap}));
  }
  DoubleDriver& driver() { return backend.doubleDriver(); }
  Device& device() { return *devices[0]; }

  DoubleBackend backend;
  HostPool host;
  std::vector<std::unique_ptr<Device>> devices;
};

inline std::vector<float> someInput(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<float> x(16);
  for (float& v : x) v = float(random() % 2001) / 1000 - 1;
  return x;
}

inline gpushim_tensor tensorOf(std::vector<float>& data, std::vector<std::int64_t> shape) {
  gpushim_tensor t{};
  t.data = data.data();
  t.bytes = data.size() * sizeof(float);
  t.rank = std::uint32_t(shape.size());
  std::copy(shape.begin(), shape.end(), t.shape);
  return t;
}

// Runs a model with a fixed shape; throws what it throws.
inline std::vector<float> runOnce(Model& model, std::uint32_t slot, std::vector<float> x) {
  std::vector<float> y(8), total(1);
  gpushim_tensor in = tensorOf(x, {16});
  gpushim_tensor out[] = {tensorOf(y, {8}), tensorOf(total, {1})};
  model.on(0).run(slot, &in, out);
  return y;
}

// The arena's count is the driver's, whatever happened.
inline void expectTrueLedger(Node& node) {
  const Granules::Count c = node.device().arena().count();
  const DoubleDriver::Held h = node.driver().held();
  EXPECT_EQ(c.used + c.unused, h.physical + h.plain);
  EXPECT_EQ(node.host.used() + node.device().staging().used(), h.host);
}

inline Code codeOf(const std::function<void()>& f) {
  try {
    f();
  } catch (const Failure& failure) {
    return failure.code;
  }
  return Code::ok;
}

}  // namespace gpushim
