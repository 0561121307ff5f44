#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t m = 1 << 20;

TEST(Outside, DividesAmongModels) {
  Outside o(100 * m);
  o.begin(100 * m);
  EXPECT_EQ(o.share(102 * m, 16 * m), 2 * m);
  EXPECT_EQ(o.share(103 * m, 14 * m), m);
  o.begin(103 * m);
  EXPECT_EQ(o.share(103 * m, 16 * m), 0u) << "it fits into what the driver took last";
  EXPECT_EQ(o.shares(), 3 * m);
  EXPECT_EQ(o.common(104 * m), m) << "taken by nobody in particular";
}

// What a model gave back, and the driver kept, is not counted twice when the next
// one gets it; what a model took and the driver has back is.
TEST(Outside, ModelsGo) {
  Outside o(0);
  o.begin(0);
  const std::size_t first = o.share(4 * m, 16 * m);
  o.giveBack(first);
  EXPECT_EQ(o.common(4 * m), 4 * m);
  o.begin(4 * m);
  EXPECT_EQ(o.share(4 * m, 16 * m), 0u);
  EXPECT_EQ(o.shares() + o.common(4 * m), 4 * m);

  o.begin(4 * m);
  o.share(10 * m, 16 * m);
  o.begin(8 * m);  // something has gone that was nobody's, or this model's
  EXPECT_EQ(o.share(9 * m, 16 * m), m);
  EXPECT_GE(o.shares() + o.common(9 * m), 7 * m);
}

// Another process takes and gives back far more than models do.
TEST(Outside, Others) {
  constexpr std::size_t others = 4096 * m;
  Outside o(others);
  o.begin(others);
  EXPECT_EQ(o.share(others + m, 16 * m), m);
  EXPECT_EQ(o.common(2 * others), Outside::kCommon) << "no more than that is ours";
  o.begin(m);  // they have gone
  EXPECT_EQ(o.share(2 * m, 16 * m), m) << "models still pay for what they take";
  o.begin(2 * m);
  EXPECT_EQ(o.share(2 * m + others, 16 * m), 16 * m) << "and for no more than they can have taken";
}

// Ledger says what a device holds by the shim's own numbers.
struct Ledger {
  explicit Ledger(Node& node) : node(node), before(driver()) {}
  std::size_t driver() {
    std::size_t free = 0, total = 0;
    EXPECT_EQ(node.driver().memory(&free, &total), Code::ok);
    return total - free;
  }
  // expectTrue compares with the driver: the models' costs, what they share, and what
  // is kept. The shim may say more by the size of one step of the driver, and by the
  // slack that a device leaves, when less than that is kept.
  void expectTrue(const std::vector<std::unique_ptr<Model>>& models, std::size_t slack, std::size_t step) {
    gpushim_device d{};
    node.device().describe(&d);
    std::size_t stated = d.overhead_bytes + d.kept_bytes;
    for (const auto& model : models) {
      gpushim_cost c{};
      model->cost(0, &c);
      stated += model->on(0).loaded() ? c.resident : c.measured ? c.residual : 0;
    }
    const std::size_t taken = driver() - before;
    EXPECT_GE(stated, taken);
    EXPECT_LE(stated, taken + step + slack);
    EXPECT_LE(d.taken_bytes + d.kept_bytes, taken);
    EXPECT_GE(d.taken_bytes + d.kept_bytes + slack, taken);
  }
  Node& node;
  const std::size_t before;
};

// The driver takes memory of its own for each program, in steps; models come for the
// first time while others come and go. The ledger is the driver's all along, and with
// what is kept it stays within the budget.
TEST(Outside, TheLedgerIsTheDrivers) {
  constexpr std::size_t g = kGranularity, budget = 200 * g, step = 2 * g;
  const std::uint64_t seed = newSeed();
  DoubleOptions o;
  o.memory = 400 * g;
  o.hiddenCode = g / 2;
  o.hiddenContext = g / 7;
  o.hiddenRecording = g / 9;
  o.hiddenStep = step;
  Node node(o, budget);
  Ledger ledger(node);
  const std::size_t slack = budget / 64;

  std::vector<PlanFile> plans;
  std::vector<std::unique_ptr<Model>> models;
  for (std::size_t i = 0; i < 24; i++) plans.emplace_back((1 + i % 3) * 60000, i);
  for (const auto& p : plans) models.push_back(std::make_unique<Model>(node.devices, p.path));

  std::atomic<bool> stop{false};
  models[0]->load(0);
  models[1]->load(0);
  std::vector<std::thread> others;  // that come and go all the time
  for (std::size_t own : {0, 1}) {
    others.emplace_back([&, own] {
      while (!stop) {
        EXPECT_EQ(runOnce(*models[own], std::uint32_t(own), someInput(1)), plans[own].answer(someInput(1)));
        models[own]->on(0).evict();
        models[own]->load(0);
      }
    });
  }
  for (std::size_t i = 2; i < models.size(); i++) {
    models[i]->load(0);
    models[i]->on(0).evict();
  }
  stop = true;
  for (auto& t : others) t.join();
  ledger.expectTrue(models, slack, step);

  std::mt19937_64 random(seed);
  for (int i = 0; i < 300; i++) {
    Model& model = *models[2 + random() % (models.size() - 2)];
    if (model.on(0).loaded()) {
      model.on(0).evict();
    } else if (codeOf([&] { model.load(0); }) == Code::ok) {
      runOnce(model, 0, someInput(1));
    }
    EXPECT_LE(ledger.driver() - ledger.before, budget + step);
  }
  ledger.expectTrue(models, slack, step);
  for (auto& model : models) {
    if (model->on(0).loaded()) model->on(0).evict();
  }
  models.resize(models.size() / 2);  // what went is nobody's now
  ledger.expectTrue(models, slack, step);
}

}  // namespace
}  // namespace gpushim
