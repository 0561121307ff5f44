// The double must notice what the real driver would not.
#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t g = kGranularity;

class DoubleDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    ASSERT_EQ(driver.reserve(&base, 4 * g), Code::ok);
    ASSERT_EQ(driver.create(&handle, g), Code::ok);
    ASSERT_EQ(driver.map(base, g, handle), Code::ok);
    ASSERT_EQ(driver.allow(base, g), Code::ok);
    ASSERT_EQ(driver.createStream(&stream), Code::ok);
    ASSERT_EQ(driver.createStream(&other), Code::ok);
  }
  Code busy(Stream s, Address at, bool writes) {
    return driver.launch(s, {{at, g, writes}}, [] { std::this_thread::sleep_for(std::chrono::milliseconds(300)); });
  }
  DoubleDriver driver{{}};
  Address base = 0;
  Handle handle = 0;
  Stream stream = nullptr, other = nullptr;
};

TEST_F(DoubleDeathTest, UnmapInFlight) {
  EXPECT_DEATH(
      {
        (void)busy(stream, base, false);
        (void)driver.unmap(base, g);
      },
      "unmapped while something in flight");
}

TEST_F(DoubleDeathTest, TwoStreamsRace) {
  EXPECT_DEATH(
      {
        (void)busy(stream, base, true);
        (void)busy(other, base, false);
      },
      "two streams race");
}

TEST_F(DoubleDeathTest, TwoStreamsMayRead) {
  EXPECT_EQ(busy(stream, base, false), Code::ok);
  EXPECT_EQ(busy(other, base, false), Code::ok);
}

TEST_F(DoubleDeathTest, KernelOnUnmappedMemory) {
  EXPECT_DEATH((void)busy(stream, base + g, false), "not mapped");
}

TEST_F(DoubleDeathTest, KernelOnMemoryThatIsNotAccessible) {
  Handle second = 0;
  ASSERT_EQ(driver.create(&second, g), Code::ok);
  ASSERT_EQ(driver.map(base + g, g, second), Code::ok);
  EXPECT_DEATH((void)busy(stream, base + g, false), "not mapped");
}

TEST_F(DoubleDeathTest, CopyFromMemoryThatIsNotPinned) {
  char local[16] = {};
  EXPECT_DEATH((void)driver.copyIn(base, local, sizeof local, stream), "not pinned");
}

TEST_F(DoubleDeathTest, ReleaseWhileMapped) { EXPECT_DEATH((void)driver.release(handle), "while it is mapped"); }

// One piece of memory at two addresses is still one.
TEST_F(DoubleDeathTest, TwoStreamsRaceAtTwoAddresses) {
  ASSERT_EQ(driver.map(base + 2 * g, g, handle), Code::ok);
  ASSERT_EQ(driver.allow(base + 2 * g, g), Code::ok);
  EXPECT_DEATH(
      {
        (void)busy(stream, base, false);
        (void)busy(other, base + 2 * g, true);
      },
      "two streams race");
}

TEST_F(DoubleDeathTest, UnpinWhileACopyUsesIt) {
  alignas(16) static char memory[64];
  ASSERT_EQ(driver.pinHost(memory, sizeof memory), Code::ok);
  EXPECT_EQ(driver.pinHost(memory + 32, 8), Code::failed) << "it overlaps";
  EXPECT_DEATH(
      {
        (void)busy(stream, base, true);
        (void)driver.copyIn(base, memory, sizeof memory, stream);
        (void)driver.unpinHost(memory);
      },
      "while a copy uses it");
  ASSERT_EQ(driver.unpinHost(memory), Code::ok);
  EXPECT_DEATH((void)driver.copyIn(base, memory, sizeof memory, stream), "not pinned");
}

TEST_F(DoubleDeathTest, MapOverAMapping) {
  Handle second = 0;
  ASSERT_EQ(driver.create(&second, g), Code::ok);
  EXPECT_DEATH((void)driver.map(base, g, second), "over another");
}

TEST_F(DoubleDeathTest, PartOfAMapping) {
  Handle big = 0;
  ASSERT_EQ(driver.create(&big, 2 * g), Code::ok);
  ASSERT_EQ(driver.map(base + g, 2 * g, big), Code::ok);
  EXPECT_DEATH((void)driver.unmap(base + g, g), "part of a mapping");
}

TEST_F(DoubleDeathTest, MemoryIsPoisonedWhenUnmapped) {
  std::memset(reinterpret_cast<void*>(base), 7, g);
  ASSERT_EQ(driver.unmap(base, g), Code::ok);
  ASSERT_EQ(driver.map(base, g, handle), Code::ok);
  ASSERT_EQ(driver.allow(base, g), Code::ok);
  EXPECT_NE(*reinterpret_cast<char*>(base), 7);
}

TEST_F(DoubleDeathTest, LostIsForGood) {
  bool lose = true;
  DoubleOptions o;
  o.fault = [&](const char*) { return lose ? Code::lost : Code::ok; };
  DoubleDriver d(o);
  std::size_t free = 0, total = 0;
  EXPECT_EQ(d.memory(&free, &total), Code::lost);
  lose = false;
  EXPECT_EQ(d.memory(&free, &total), Code::lost);
  EXPECT_EQ(d.enter(), Code::lost);
}

}  // namespace
}  // namespace gpushim
