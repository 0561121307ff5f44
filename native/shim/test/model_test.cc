#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t g = kGranularity;

class ModelTest : public ::testing::TestWithParam<bool> {
 protected:
  ModelTest() : node(DoubleOptions(), 0, 0, !GetParam()) {}
  bool remaps() const { return GetParam(); }
  Node node;
};

INSTANTIATE_TEST_SUITE_P(, ModelTest, ::testing::Values(true, false),
                         [](const auto& p) { return p.param ? "remapped" : "deserialized"; });

TEST_P(ModelTest, ComesBackAsItWas) {
  PlanFile plan(100000);
  Model model(node.devices, plan.path);
  const std::vector<float> x = someInput(1);
  for (int round = 0; round < 5; round++) {
    model.load(0);
    EXPECT_EQ(runOnce(model, 0, x), plan.answer(x));
    EXPECT_EQ(runOnce(model, 1, x), plan.answer(x));
    model.on(0).evict();
    expectTrueLedger(node);
  }
}

// What cost says is what the device holds.
TEST_P(ModelTest, CostIsWhatIsTaken) {
  const std::size_t idle = node.device().arena().count().used;
  PlanFile plan(300000);
  Model model(node.devices, plan.path);
  gpushim_cost c{};
  model.cost(0, &c);
  EXPECT_FALSE(c.measured);
  EXPECT_GE(c.host, plan.bytes.size());
  EXPECT_GE(c.peak, c.resident);
  EXPECT_THROW(model.spec(), Failure);

  for (int round = 0; round < 3; round++) {
    model.load(0);
    model.cost(0, &c);
    EXPECT_TRUE(c.measured);
    gpushim_device d{};
    node.device().describe(&d);
    EXPECT_EQ(d.taken_bytes - d.overhead_bytes, c.resident + idle) << "in round " << round;
    model.on(0).evict();
    node.device().describe(&d);
    const std::uint64_t held = d.taken_bytes > d.overhead_bytes ? d.taken_bytes - d.overhead_bytes : 0;
    EXPECT_EQ(held, c.residual + idle);
    EXPECT_LT(c.residual, remaps() ? g : 1);
  }
}

TEST_P(ModelTest, NothingIsLeft) {
  {
    Node own(DoubleOptions(), 0, 0, !remaps());
    PlanFile plan(100000);
    for (int i = 0; i < 3; i++) {
      Model model(own.devices, plan.path);
      model.load(0);
      runOnce(model, 0, someInput(1));
      model.on(0).evict();
    }
    // Small memory and weights are gone; the slots' buffers and spare granules stay.
    gpushim_device d{};
    own.device().describe(&d);
    EXPECT_EQ(d.taken_bytes, d.overhead_bytes);
    own.devices.clear();
    EXPECT_TRUE(own.driver().held().physical == 0 && own.driver().held().plain == 0);
    EXPECT_TRUE(own.driver().held().nothing());
  }
}

TEST_P(ModelTest, Batches) {
  PlanFile plan(1000, 1, 4);
  Model model(node.devices, plan.path);
  model.load(0);
  EXPECT_EQ(model.spec().maxBatch, 4);
  std::vector<float> x = someInput(1), second = someInput(2), y(16), total(2);
  x.insert(x.end(), second.begin(), second.end());
  gpushim_tensor in = tensorOf(x, {2, 16});
  gpushim_tensor out[] = {tensorOf(y, {2, 8}), tensorOf(total, {2, 1})};
  model.on(0).run(0, &in, out);
  std::vector<float> want = plan.answer(someInput(1)), more = plan.answer(second);
  want.insert(want.end(), more.begin(), more.end());
  EXPECT_EQ(y, want);

  gpushim_tensor shapes[2] = {};
  model.on(0).shapes(&in, shapes);
  EXPECT_EQ(shapes[0].bytes, 64u);
  EXPECT_EQ(shapes[1].shape[0], 2);

  in.shape[0] = 5;
  in.bytes = 5 * 16 * sizeof(float);
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::badInput) << "more than it was built for";
}

TEST_P(ModelTest, RefusesTensorsThatDoNotFit) {
  PlanFile plan(1000);
  Model model(node.devices, plan.path);
  std::vector<float> x = someInput(1), y(8), total(1);
  gpushim_tensor in = tensorOf(x, {16});
  gpushim_tensor out[] = {tensorOf(y, {8}), tensorOf(total, {1})};
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::failed) << "not loaded";
  model.load(0);
  const gpushim_tensor good = in;
  in.bytes--;
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::badInput);
  in = good;
  in.rank = 9;
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::badInput);
  in = good;
  in.shape[0] = -16;
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::badInput);
  in = good;
  out[0].bytes = 4;
  EXPECT_EQ(codeOf([&] { model.on(0).run(0, &in, out); }), Code::badInput);
  EXPECT_EQ(y, std::vector<float>(8)) << "nothing was written";
  out[0].data = nullptr;  // not wanted
  model.on(0).run(0, &in, out);
  EXPECT_NE(total[0], 0);
  EXPECT_EQ(codeOf([&] { model.on(0).run(7, &in, out); }), Code::failed) << "no such slot";
}

TEST_P(ModelTest, BadFiles) {
  PlanFile plan(1000), foreign(1000, 1, 0, 0, kPlanForeign);
  const std::string good = plan.bytes;
  EXPECT_EQ(codeOf([&] { Model(node.devices, plan.path + "-no"); }), Code::badModel);
  EXPECT_EQ(codeOf([&] { Model(node.devices, ::testing::TempDir()); }), Code::badModel);
  for (std::size_t n : {std::size_t(0), std::size_t(10), good.size() / 2, good.size() - 1}) {
    std::ofstream(plan.path, std::ios::binary | std::ios::trunc) << good.substr(0, n);
    EXPECT_EQ(codeOf([&] { Model(node.devices, plan.path).load(0); }), Code::badModel) << n << " bytes";
  }
  Model model(node.devices, foreign.path);
  for (int i = 0; i < 3; i++) EXPECT_EQ(codeOf([&] { model.load(0); }), Code::badModel);
  EXPECT_EQ(node.device().arena().count().used, 0u);
}

TEST_P(ModelTest, BudgetsHold) {
  Node small(DoubleOptions(), (remaps() ? 18 : 10) * g, 1 << 20, !remaps());
  PlanFile a(100000), b(100000, 2);  // 400 KB in three blocks
  Model first(small.devices, a.path), second(small.devices, b.path);
  first.load(0);
  EXPECT_EQ(codeOf([&] { second.load(0); }), Code::noMemory);
  expectTrueLedger(small);
  EXPECT_EQ(runOnce(first, 0, someInput(1)), a.answer(someInput(1)));
  first.on(0).evict();
  second.load(0);
  EXPECT_EQ(runOnce(second, 0, someInput(1)), b.answer(someInput(1)));
  if (remaps()) {
    second.on(0).evict();
    PlanFile c(100000, 3);
    Model third(small.devices, c.path);
    EXPECT_EQ(codeOf([&] { third.load(0); }), Code::noMemory) << "the pinned host pool is full";
    expectTrueLedger(small);
  }
}

TEST(Model, UnifiedMemoryHasNoSecondCopy) {
  DoubleBackend backend({}, true);
  HostPool host(0);
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<Device>(backend, 0, host, DeviceOptions{}));
  PlanFile plan(100000);
  Model model(devices, plan.path);
  model.load(0);
  runOnce(model, 0, someInput(1));
  gpushim_cost c{};
  model.cost(0, &c);
  EXPECT_LT(c.host, plan.bytes.size());
  model.on(0).evict();
  EXPECT_LT(host.used(), plan.bytes.size());
}

}  // namespace
}  // namespace gpushim
