// Random schedules of several threads, with seeds.
#include "support.h"

namespace gpushim {
namespace {

// Slots hands out the two slots of a device.
class Slots {
 public:
  std::uint32_t take() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !free_.empty(); });
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    return slot;
  }
  void give(std::uint32_t slot) {
    std::lock_guard<std::mutex> lock(mutex_);
    free_.push_back(slot);
    changed_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::uint32_t> free_ = {0, 1};
};

// Worker has one model, and loads, runs and evicts it at random, with tensors in
// memory that is pinned, or not.
struct Worker {
  Worker(Node& node, Slots& slots, std::uint64_t seed)
      : node(node),
        slots(slots),
        random(seed),
        plan(20000 + random() % 300000, seed),
        model(node.devices, plan.path),
        memory(64) {
    node.host.pin(node.driver(), memory.data(), memory.size() * sizeof(float));
  }
  ~Worker() { (void)codeOf([&] { node.host.unpin(node.driver(), memory.data()); }); }

  void work(int steps) {
    for (int i = 0; i < steps; i++) {
      const Code code = codeOf([&] { step(); });
      if (code == Code::badInput || code == Code::badModel) ADD_FAILURE() << "code " << int(code);
      failures += code != Code::ok;
    }
  }

  void step() {
    if (!model.on(0).loaded()) {
      model.load(0);
    } else if (random() % 3 == 0) {
      model.on(0).evict();
    } else {
      const std::vector<float> x = someInput(random() % 4);
      const std::uint32_t slot = slots.take();
      try {
        EXPECT_EQ(random() % 2 == 0 ? runOnce(model, slot, x) : runPinned(slot, x), plan.answer(x));
        runs++;
      } catch (...) {
        slots.give(slot);
        throw;
      }
      slots.give(slot);
    }
  }

  std::vector<float> runPinned(std::uint32_t slot, const std::vector<float>& x) {
    float* at = memory.data() + random() % 4;
    std::copy(x.begin(), x.end(), at);
    gpushim_tensor in{at, 16 * sizeof(float), 1, {16}};
    gpushim_tensor out[] = {{at + 16, 8 * sizeof(float), 1, {8}}, {at + 24, sizeof(float), 1, {1}}};
    model.on(0).run(slot, &in, out);
    return {at + 16, at + 24};
  }

  void evict() {
    if (model.on(0).loaded()) model.on(0).evict();
  }

  Node& node;
  Slots& slots;
  std::mt19937_64 random;
  PlanFile plan;
  Model model;
  std::vector<float> memory;
  int failures = 0, runs = 0;
};

// schedule runs workers on a device that has room for about half of them.
void schedule(std::uint64_t seed, bool noRemap, unsigned faultsIn1000) {
  std::atomic<std::uint64_t> draws{seed};
  std::atomic<bool> failing{false};
  DoubleOptions o;
  o.memory = 5 << 20;
  o.fault = [&](const char*) {
    std::mt19937_64 random(draws++);
    return failing && random() % 1000 < faultsIn1000 ? Code::failed : Code::ok;
  };
  Node node(std::move(o), 4 << 20, 0, noRemap);
  Slots slots;
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < 6; i++) workers.push_back(std::make_unique<Worker>(node, slots, seed + 1000 * i));
  failing = true;
  std::vector<std::thread> threads;
  for (auto& w : workers) threads.emplace_back([&w] { w->work(60); });
  for (auto& t : threads) t.join();
  failing = false;
  expectTrueLedger(node);
  int runs = 0;
  for (auto& w : workers) {
    w->evict();
    runs += w->runs;
  }
  EXPECT_GT(runs, 20) << "the schedule did little";
  for (auto& w : workers) {  // each still answers, one at a time
    w->model.load(0);
    EXPECT_EQ(runOnce(w->model, 0, someInput(1)), w->plan.answer(someInput(1)));
    w->evict();
  }
  expectTrueLedger(node);
}

TEST(Schedule, Remapped) { schedule(newSeed(), false, 0); }
TEST(Schedule, Deserialized) { schedule(newSeed(), true, 0); }
TEST(Schedule, RemappedWithFaults) { schedule(newSeed(), false, 3); }

// The device is lost in the middle: everything fails from then on, nothing hangs,
// and what is open can be closed.
TEST(Schedule, Lost) {
  const std::uint64_t seed = newSeed();
  for (int round = 0; round < 2; round++) {
    std::atomic<int> left{300 + int(seed % 500) + 100 * round};
    std::atomic<bool> armed{false};
    DoubleOptions o;
    o.memory = 5 << 20;
    o.fault = [&](const char*) { return armed && --left == 0 ? Code::lost : Code::ok; };
    Node node(std::move(o), 4 << 20);
    Slots slots;
    std::vector<std::unique_ptr<Worker>> workers;
    for (int i = 0; i < 6; i++) workers.push_back(std::make_unique<Worker>(node, slots, seed + 1000 * i));
    armed = true;
    std::vector<std::thread> threads;
    for (auto& w : workers) threads.emplace_back([&w] { w->work(200); });
    for (auto& t : threads) t.join();
    ASSERT_LT(left, 0) << "the schedule did little";
    for (auto& w : workers) EXPECT_EQ(codeOf([&] { w->model.load(0); }), w->model.on(0).loaded() ? Code::failed : Code::lost);
  }
}

// A load is over long before a run that began before it.
TEST(Schedule, LoadBesideRun) {
  Node node;
  PlanFile slow(20000, 1, 0, 400000), quick(20000, 2);
  Model a(node.devices, slow.path), b(node.devices, quick.path);
  a.load(0);
  b.load(0);
  b.on(0).evict();
  std::atomic<bool> ended{false};
  std::thread run([&] {
    runOnce(a, 0, someInput(1));
    ended = true;
  });
  while (node.driver().pending() == 0 && !ended) std::this_thread::yield();
  for (int i = 0; i < 3; i++) {
    b.load(0);
    EXPECT_EQ(runOnce(b, 1, someInput(1)), quick.answer(someInput(1)));
    b.on(0).evict();
  }
  EXPECT_FALSE(ended);
  run.join();
}

}  // namespace
}  // namespace gpushim
