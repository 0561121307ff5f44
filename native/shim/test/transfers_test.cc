#include <future>

#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t kBytes = 4096;

// Wire is a stream that stands still until it is released, with memory for copies.
class Wire {
 public:
  explicit Wire(unsigned most) : driver(options()), transfers(driver, most) {
    must(driver.alloc(&device, kBytes));
    void* p = nullptr;
    must(driver.allocHost(&p, kBytes));
    host = static_cast<char*>(p);
    const std::shared_future<void> open = gate.get_future().share();
    must(driver.launch(transfers.stream(), {}, [open] { open.wait(); }));
  }

  DoubleOptions options() {
    DoubleOptions o;
    o.fault = [this](const char* call) {
      if (std::string(call) != "copyIn") return Code::ok;
      std::lock_guard<std::mutex> lock(mutex);
      order.push_back(self);
      return order.size() == failing ? failure : Code::ok;
    };
    return o;
  }

  // go begins a transfer in a thread of its own, which is in its place then.
  void go(int number) {
    const std::size_t before = sent() + transfers.waiting();
    threads.emplace_back([this, number] {
      self = number;
      result.push(codeOf([&] {
        OwnedEvent done(driver);
        Transfers::Ticket ticket(transfers, {{device, host, kBytes}}, done.get());
        ticket.wait();
      }));
    });
    while (sent() + transfers.waiting() == before) std::this_thread::yield();
  }
  void join() {
    for (auto& t : threads) t.join();
    threads.clear();
  }
  std::size_t sent() {
    std::lock_guard<std::mutex> lock(mutex);
    return order.size();
  }

  struct Results {
    void push(Code code) {
      std::lock_guard<std::mutex> lock(mutex);
      codes.push_back(code);
    }
    std::mutex mutex;
    std::vector<Code> codes;
  };

  static void must(Code code) { ASSERT_EQ(code, Code::ok); }
  static thread_local int self;
  std::mutex mutex;
  std::vector<int> order;  // of copies
  std::size_t failing = 0;
  Code failure = Code::ok;
  Results result;
  std::promise<void> gate;
  DoubleDriver driver;
  Transfers transfers;
  Address device = 0;
  char* host = nullptr;
  std::vector<std::thread> threads;
};

thread_local int Wire::self = 0;

TEST(Transfers, FirstComeFirstServed) {
  for (unsigned most : {1u, 2u, 3u}) {
    Wire wire(most);
    EXPECT_FALSE(wire.transfers.busy());
    for (int i = 0; i < 6; i++) wire.go(i);
    EXPECT_TRUE(wire.transfers.busy());
    EXPECT_EQ(wire.sent(), most) << "so many are in the stream, and the others wait";
    EXPECT_EQ(wire.transfers.waiting(), 6 - most);
    wire.gate.set_value();
    wire.join();
    EXPECT_EQ(wire.order, (std::vector<int>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(wire.result.codes, std::vector<Code>(6, Code::ok));
    EXPECT_FALSE(wire.transfers.busy());
  }
}

// One that fails makes room for those behind it; where the device is lost, all
// fail, and none waits for ever.
TEST(Transfers, AFailureHoldsNobodyUp) {
  for (Code code : {Code::failed, Code::lost}) {
    Wire wire(1);
    wire.failure = code;
    wire.failing = 2;
    for (int i = 0; i < 4; i++) wire.go(i);
    wire.gate.set_value();
    wire.join();
    const auto failures = std::count(wire.result.codes.begin(), wire.result.codes.end(), code);
    EXPECT_EQ(wire.result.codes.size(), 4u);
    if (code == Code::failed) {
      EXPECT_EQ(failures, 1);
    } else {
      EXPECT_GE(failures, 3) << "the first one may have been over before";
    }
    EXPECT_FALSE(wire.transfers.busy());
  }
}

// While weights are on their way, inputs are pulled, and go by the copy engine
// otherwise.
TEST(Transfers, InputsDoNotWaitBehindWeights) {
  std::mutex mutex;
  std::map<std::string, int> calls;
  DoubleOptions o;
  o.fault = [&](const char* call) {
    std::lock_guard<std::mutex> lock(mutex);
    calls[call]++;
    return Code::ok;
  };
  Node node(std::move(o));
  PlanFile plan(1000);
  Model model(node.devices, plan.path);
  model.load(0);
  calls.clear();
  EXPECT_EQ(runOnce(model, 0, someInput(1)), plan.answer(someInput(1)));
  EXPECT_EQ(calls["pull"], 0);
  EXPECT_EQ(calls["copyIn"], 1);
  {
    OwnedEvent done(node.driver());
    Transfers::Ticket ticket(node.device().transfers(), {}, done.get());
    EXPECT_EQ(runOnce(model, 0, someInput(2)), plan.answer(someInput(2)));
  }
  EXPECT_EQ(calls["pull"], 1);
  EXPECT_EQ(calls["copyIn"], 1);
  model.on(0).evict();
}

}  // namespace
}  // namespace gpushim
