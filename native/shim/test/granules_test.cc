#include <deque>
#include <set>

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
      EXPECT_EQ(bytesOf(got), pool.rounded(n));
      EXPECT_LE(driver.held().physical, 32 * g);
      pool.give(got);
    }
    pool.claim(30 * g);
    EXPECT_LE(driver.held().physical + 30 * g, 32 * g);
    pool.unclaim(30 * g);
  }
}

TEST(Granules, ARestBecomesOneOfTheNextSize) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 0, nothingRetired);
  for (std::size_t n = 1; n < 70; n++) {
    const auto got = pool.take(n * g - 1);
    EXPECT_EQ(bytesOf(got), pool.rounded(n * g));
    EXPECT_LT(bytesOf(got) - n * g, 4 * g);
    EXPECT_LE(n < 8 ? 0 : std::count_if(got.begin(), got.end(), [](const Granule& x) { return x.bytes == g; }), 4);
    pool.give(got);
  }
}

// Models of three sizes come and go in random order, behind room for a quarter of
// them, but for the slack that a device leaves. Hardly any takes a call of the driver
// that makes memory or gives it back, and none is made of many pieces.
TEST(Granules, AMixOfSizesSettles) {
  const std::uint64_t seed = newSeed();
  std::mt19937_64 random(seed);
  constexpr std::size_t unit = 4096, budget = 2551 * unit, slack = 20 * unit;
  int made = 0;
  DoubleOptions o;
  o.memory = 2 * budget;
  o.granularity = unit;
  o.fault = [&](const char* call) {
    made += std::string(call) == "create" || std::string(call) == "release";
    return Code::ok;
  };
  DoubleDriver driver(o);
  Granules pool(driver, {16 * unit, 4 * unit, unit}, budget, nothingRetired);
  std::vector<std::size_t> models;
  for (int i = 0; i < 898; i++) models.push_back((i % 10 < 6 ? 12 : i % 10 < 9 ? 7 : 5) * unit);
  std::deque<std::pair<std::size_t, std::vector<Granule>>> resident;
  std::set<std::size_t> there;
  std::size_t used = 0, swaps = 0, pieces = 0;
  const auto run = [&](std::size_t model) {
    if (!there.insert(model).second) return;
    for (const std::size_t bytes = pool.rounded(models[model]); used + bytes > budget - slack;) {
      used -= bytesOf(resident.front().second);
      pool.give(resident.front().second);
      there.erase(resident.front().first);
      resident.pop_front();
    }
    resident.emplace_back(model, pool.take(models[model]));
    used += bytesOf(resident.back().second);
    swaps++;
    pieces += resident.back().second.size();
  };
  for (std::size_t i = 0; i < models.size(); i++) run(i);
  for (int i = 0; i < 2000; i++) run(random() % models.size());
  made = 0, swaps = pieces = 0;
  for (int i = 0; i < 4000; i++) run(random() % models.size());
  EXPECT_LT(double(made), 0.02 * double(swaps));
  EXPECT_LT(double(pieces), 3.0 * double(swaps));
  for (const auto& r : resident) pool.give(r.second);
}

// What others have taken of the budget is not there, and what was lent is given back
// to the driver at once.
TEST(Granules, OthersTakeOfTheBudget) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 40 * g, nothingRetired);
  pool.give(pool.take(40 * g));
  pool.setTaken(8 * g);
  EXPECT_LE(driver.held().physical, 32 * g);
  EXPECT_EQ(codeOf([&] { pool.take(33 * g); }), Code::noMemory);
  pool.lend(16 * g);
  EXPECT_LE(driver.held().physical, 16 * g);
  const auto got = pool.take(16 * g);
  EXPECT_EQ(codeOf([&] { pool.take(g); }), Code::noMemory);
  pool.setTaken(30 * g);  // more than there is: nothing can be done about it
  EXPECT_EQ(codeOf([&] { pool.claim(g); }), Code::noMemory);
  pool.setTaken(0);
  pool.lend(-16 * std::int64_t(g));
  const auto more = pool.take(24 * g);
  pool.give(got);
  pool.give(more);
}

// A smaller budget gives what is kept beyond it back to the driver at once, and takes
// nothing away that is used.
TEST(Granules, TheBudgetChanges) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 0, nothingRetired);
  pool.give(pool.take(40 * g));
  const auto used = pool.take(8 * g);
  pool.setBudget(16 * g);
  EXPECT_EQ(pool.budget(), 16 * g);
  EXPECT_LE(driver.held().physical, 16 * g);
  EXPECT_EQ(codeOf([&] { pool.take(9 * g); }), Code::noMemory);
  pool.setBudget(4 * g);  // less than is used
  EXPECT_EQ(driver.held().physical, 8 * g);
  EXPECT_EQ(codeOf([&] { pool.take(g); }), Code::noMemory);
  pool.setBudget(64 * g);
  pool.give(pool.take(56 * g));
  pool.give(used);
}

TEST(Granules, NothingIsKeptWhileSomethingIsLent) {
  DoubleDriver driver({});
  Granules pool(driver, kSizes, 0, nothingRetired);
  pool.give(pool.take(40 * g));
  pool.lend(g);
  EXPECT_EQ(driver.held().physical, 0u);
  pool.lend(-std::int64_t(g));
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
