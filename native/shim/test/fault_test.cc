// Every call of the driver fails once, at every place.
#include "support.h"

namespace gpushim {
namespace {

// Trial runs one scenario with the nth call of the driver failing.
struct Trial {
  Trial(std::size_t nth, Code code, bool noRemap) : nth(nth), node(options(code), 0, 0, noRemap) {}

  DoubleOptions options(Code code) {
    DoubleOptions o;
    o.fault = [this, code](const char* call) {
      // How often something is asked until it is done is chance: that is one call.
      const bool again = std::string(call) == "isDone" && last == call;
      last = call;
      return armed && !again && ++calls == nth ? code : Code::ok;
    };
    return o;
  }

  // Steps go on after a failure, as a manager would.
  void step(const std::function<void()>& f) {
    try {
      check(node.driver(), node.driver().enter(), "enter");
      f();
    } catch (const Failure&) {
      failures++;
    }
  }

  void scenario(const PlanFile& plan) {
    armed = true;
    std::unique_ptr<Model> model;
    step([&] { model = std::make_unique<Model>(node.devices, plan.path); });
    for (int round = 0; round < 3 && model; round++) {
      step([&] { model->load(0); });
      for (std::uint32_t slot : {0u, 1u}) {
        const std::vector<float> x = someInput(slot);
        step([&] { EXPECT_EQ(runOnce(*model, slot, x), plan.answer(x)) << "call " << nth; });
      }
      step([&] { model->on(0).evict(); });
    }
    armed = false;
    if (model) afterwards(*model, plan);
  }

  // The failure was once: all works again, and what was taken is known.
  void afterwards(Model& model, const PlanFile& plan) {
    if (node.driver().enter() == Code::lost) return;
    expectTrueLedger(node);
    if (model.on(0).loaded()) model.on(0).evict();
    model.load(0);
    EXPECT_EQ(runOnce(model, 0, someInput(9)), plan.answer(someInput(9))) << "after call " << nth << " failed";
    model.on(0).evict();
    gpushim_cost c{};
    model.cost(0, &c);
    gpushim_device d{};
    node.device().describe(&d);
    EXPECT_LE(d.taken_bytes, d.overhead_bytes + c.residual + lostTo(d)) << "after call " << nth << " failed";
    expectTrueLedger(node);
  }

  // What one failed unmap or free may cost for good, where nobody tries again: a
  // block that the program deallocated.
  std::uint64_t lostTo(const gpushim_device&) const { return failures > 0 || calls >= nth ? 4 * kGranularity : 0; }

  const std::size_t nth;
  std::size_t calls = 0;
  std::string last;
  std::size_t failures = 0;
  bool armed = false;
  Node node;
};

class FaultTest : public ::testing::TestWithParam<std::tuple<Code, bool>> {};

INSTANTIATE_TEST_SUITE_P(, FaultTest,
                         ::testing::Combine(::testing::Values(Code::noMemory, Code::failed, Code::lost),
                                            ::testing::Bool()),
                         [](const auto& p) {
                           const Code code = std::get<0>(p.param);
                           return std::string(code == Code::lost       ? "lost"
                                              : code == Code::noMemory ? "noMemory"
                                                                       : "failed") +
                                  (std::get<1>(p.param) ? "Deserialized" : "Remapped");
                         });

TEST_P(FaultTest, EachCallOnce) {
  const auto [code, noRemap] = GetParam();
  PlanFile plan(60000);  // three blocks of two granules
  Trial whole(0, code, noRemap);
  whole.scenario(plan);
  EXPECT_EQ(whole.failures, 0u);
  ASSERT_GT(whole.calls, 100u);
  std::size_t noticed = 0;
  for (std::size_t nth = 1; nth <= whole.calls; nth++) {
    Trial t(nth, code, noRemap);
    t.scenario(plan);
    noticed += t.failures > 0;
    if (::testing::Test::HasFailure()) return;
  }
  EXPECT_GT(noticed, whole.calls / 2);
}

}  // namespace
}  // namespace gpushim
