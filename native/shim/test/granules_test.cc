#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t g = kGranularity;
const std::vector<std::size_t> kSizes = {32 * g, 8 * g, g};

bool nothingRetired() { return true; }

std::size_t bytesOf(const std::vector<Granule>& granules) {
  std::size_t n = 0;
  for (const Granule& x : granules) n += x.bytes;
  return n;
}

TEST(Granules, LargestFirst) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 0, nothingRetired);
  const auto got = pool.take((32 + 2 * 8 + 3) * g);
  std::vector<std::size_t> sizes;
  for (const Granule& x : got) sizes.push_back(x.bytes / g);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{32, 8, 8, 1, 1, 1}));
  EXPECT_EQ(driver.held().physical, 51 * g);
  pool.give(got);
  EXPECT_EQ(driver.held().physical, 51 * g) << "unused granules are kept";
  pool.trim();
  EXPECT_EQ(driver.held().physical, 0u);
}

TEST(Granules, BudgetIsExact) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 40 * g, nothingRetired);
  const auto first = pool.take(32 * g);
  EXPECT_EQ(codeOf([&] { pool.take(9 * g); }), Code::noMemory);
  EXPECT_EQ(codeOf([&] { pool.claim(8 * g + 1); }), Code::noMemory);
  pool.claim(8 * g);
  EXPECT_EQ(pool.count().used, 40 * g);
  pool.unclaim(8 * g);
  const auto second = pool.take(8 * g);
  pool.give(first);
  pool.give(second);
}

// What is free in another size is used or given back, never in the way.
TEST(Granules, OtherSizes) {
  for (std::size_t first : {32 * g, 8 * g, g}) {
    DoubleDriver driver({});
    Granules pool(driver, kSizes, 32 * g, nothingRetired);
    std::vector<std::vector<Granule>> held;
    for (std::size_t n = 0; n < 32 * g; n += first) held.push_back(pool.take(first));
    for (auto& h : held) pool.give(h);
    for (std::size_t n : {32 * g, 31 * g, 9 * g, 32 * g}) {
      const auto got = pool.take(n);
      EXPECT_EQ(bytesOf(got), n);
      EXPECT_LE(driver.held().physical, 32 * g);
      pool.give(got);
    }
    pool.claim(30 * g);
    EXPECT_LE(driver.held().physical + 30 * g, 32 * g);
    pool.unclaim(30 * g);
  }
}

TEST(Granules, DriverIsShort) {
  DoubleOptions o;
  o.memory = 40 * g;
  DoubleDriver driver(o);
  Granules pool(driver, kSizes, 0, nothingRetired);
  pool.give(pool.take(39 * g));  // 32 + 7
  const auto got = pool.take(3 * 8 * g);
  EXPECT_EQ(bytesOf(got), 24 * g) << "unused granules make room";
  EXPECT_EQ(codeOf([&] { pool.take(32 * g); }), Code::noMemory);
  EXPECT_EQ(pool.count().used, 24 * g) << "a failed take takes nothing";
  pool.give(got);
}

TEST(Granules, AccessibleAtHome) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 0, nothingRetired);
  const auto got = pool.take(9 * g);
  for (const Granule& x : got) std::memset(reinterpret_cast<void*>(x.home), 1, x.bytes);
  pool.give(got);
}

// The driver has memory back only when it is mapped nowhere.
TEST(Granules, NothingIsReleasedWhileItIsMapped) {
  DoubleDriver driver({});
  bool unmapped = false;
  Granules pool(driver, kSizes, 8 * g, [&] { return unmapped; });
  pool.give(pool.take(8 * g));
  EXPECT_EQ(codeOf([&] { pool.claim(g); }), Code::failed);
  pool.trim();
  EXPECT_EQ(driver.held().physical, 8 * g);
  unmapped = true;
  pool.claim(g);
  EXPECT_EQ(driver.held().physical, 0u);
  pool.unclaim(g);
}

TEST(Granules, FailuresLeaveALedgerThatIsTrue) {
  const std::uint64_t seed = newSeed();
  std::mt19937_64 random(seed);
  DoubleOptions o;
  o.memory = 100 * g;
  o.fault = [&](const char*) { return random() % 5 == 0 ? Code::failed : Code::ok; };
  DoubleDriver driver(o);
  Granules pool(driver, kSizes, 90 * g, nothingRetired);
  std::vector<std::vector<Granule>> held;
  for (int i = 0; i < 3000; i++) {
    if (random() % 2 == 0 && !held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      pool.give(held.back());
      held.pop_back();
    } else {
      try {
        held.push_back(pool.take((1 + random() % 50) * g));
      } catch (const Failure&) {
      }
    }
    std::size_t used = 0;
    for (const auto& h : held) used += bytesOf(h);
    const Granules::Count c = pool.count();
    ASSERT_EQ(c.used, used);
    ASSERT_EQ(c.used + c.unused, driver.held().physical);
    ASSERT_LE(c.used + c.unused, 90 * g);
  }
  for (const auto& h : held) pool.give(h);
}

}  // namespace
}  // namespace gpushim
