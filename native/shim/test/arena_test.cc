#include "support.h"

namespace gpushim {
namespace {

constexpr std::size_t g = kGranularity;

ArenaOptions options(bool remaps) {
  ArenaOptions o;
  if (remaps) o.granules = {32 * g, 8 * g, g};
  o.small = g / 2;
  return o;
}

TEST(Arena, SmallMemorySharesAChunk) {
  for (bool remaps : {true, false}) {
    DoubleDriver driver({});
    Arena arena(driver, options(remaps));
    const Address a = arena.allocate(100, 256), b = arena.allocate(g / 2 - 1, 256);
    EXPECT_EQ(driver.held().physical + driver.held().plain, g);
    EXPECT_EQ(arena.find(a), nullptr);
    EXPECT_TRUE(arena.deallocate(a));
    EXPECT_FALSE(arena.deallocate(a));
    EXPECT_TRUE(arena.deallocate(b));
    EXPECT_EQ(arena.count().used, 0u);
  }
}

TEST(Arena, MemoryIsThereUntilItIsDeallocated) {
  for (bool remaps : {true, false}) {
    DoubleDriver driver({});
    {
      Arena arena(driver, options(remaps));
      const std::size_t n = 41 * g + 5;
      const Address at = arena.allocate(n, 256);
      std::memset(reinterpret_cast<void*>(at), 1, n);
      EXPECT_EQ(arena.count().used, remaps ? 42 * g : n);
      ASSERT_NE(arena.find(at), nullptr);
      EXPECT_TRUE(arena.deallocate(at));
      EXPECT_EQ(arena.count().used, 0u);
    }
    EXPECT_TRUE(driver.held().nothing());
  }
}

TEST(Arena, ARangeKeepsItsAddress) {
  DoubleDriver driver({});
  Arena arena(driver, options(true));
  auto range = arena.reserve(11 * g + 1);
  const Address base = range->base;
  for (int i = 0; i < 3; i++) {
    arena.back(*range, range->bytes);
    EXPECT_EQ(range->mapped, 0u);
    arena.map(*range);
    EXPECT_EQ(range->open, 12 * g);
    EXPECT_EQ(range->base, base);
    std::memset(reinterpret_cast<void*>(base), i, range->bytes);
    arena.unback(*range);
    EXPECT_EQ(arena.count().used, 0u);
  }
  arena.unreserve(std::move(range));
}

// What is written at the homes is seen in the range.
TEST(Arena, HomesShowTheSame) {
  DoubleDriver driver({});
  Arena arena(driver, options(true));
  auto range = arena.reserve(9 * g);
  arena.back(*range, range->bytes);
  for (const Granule& x : range->granules) std::memset(reinterpret_cast<void*>(x.home), int(x.bytes / g), x.bytes);
  arena.map(*range);
  EXPECT_EQ(reinterpret_cast<char*>(range->base)[8 * g - 1], 8);
  EXPECT_EQ(reinterpret_cast<char*>(range->base)[8 * g], 1);
  arena.unback(*range);
  arena.unreserve(std::move(range));
}

TEST(Arena, RetiredMemoryIsUsedAtOnce) {
  DoubleDriver driver({});
  ArenaOptions o = options(true);
  o.budget = 8 * g;
  Arena arena(driver, o);
  auto a = arena.reserve(8 * g), b = arena.reserve(8 * g), c = arena.reserve(g);
  for (int i = 0; i < 3; i++) {
    for (Range* r : {a.get(), b.get()}) {
      arena.back(*r, r->bytes);
      arena.map(*r);
      std::memset(reinterpret_cast<void*>(r->base), i, r->bytes);
      arena.retire(*r);
      EXPECT_EQ(arena.count().used, 0u);
    }
  }
  EXPECT_EQ(driver.held().physical, 8 * g);
  // Another size: the memory goes back to the driver, so it is unmapped first.
  arena.back(*c, g);
  EXPECT_EQ(driver.held().physical, g);
  EXPECT_FALSE(arena.unmapRetired());
  arena.retire(*c);
  for (auto* r : {&a, &b, &c}) {
    arena.unback(**r);
    arena.unreserve(std::move(*r));
  }
  EXPECT_EQ(arena.count().used, 0u);
}

TEST(Arena, WhatCannotBeUnmappedIsUnmappedLater) {
  bool failing = false;
  DoubleOptions d;
  d.fault = [&](const char* call) { return failing && std::string(call) == "unmap" ? Code::failed : Code::ok; };
  DoubleDriver driver(d);
  {
    Arena arena(driver, options(true));
    const Address at = arena.allocate(8 * g, 256);
    failing = true;
    EXPECT_TRUE(arena.deallocate(at));
    EXPECT_EQ(arena.count().used, 0u);
    arena.trim();
    EXPECT_EQ(driver.held().physical, 8 * g);
    failing = false;
    EXPECT_TRUE(arena.unmapRetired());
  }
  EXPECT_TRUE(driver.held().nothing());
}

TEST(Arena, ARangeGrowsWithoutMoving) {
  DoubleDriver driver({});
  Arena arena(driver, options(true));
  auto range = arena.reserve(64 * g);
  arena.grow(*range, 10);
  char* p = reinterpret_cast<char*>(range->base);
  p[0] = 42;
  arena.grow(*range, 20 * g);
  arena.grow(*range, 5 * g);
  EXPECT_EQ(range->mapped, 20 * g);
  EXPECT_EQ(p[0], 42);
  p[20 * g - 1] = 1;
  arena.unback(*range);
  arena.unreserve(std::move(range));
}

TEST(Arena, TouchingWhatIsUnmappedEndsTheProgram) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  DoubleDriver driver({});
  Arena arena(driver, options(true));
  auto range = arena.reserve(g);
  arena.grow(*range, g);
  arena.unback(*range);
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(range->base) = 1, "");
  arena.unreserve(std::move(range));
}

// Random allocations and failures: the count is the driver's all along.
TEST(Arena, RandomFailures) {
  const std::uint64_t seed = newSeed();
  for (bool remaps : {true, false}) {
    std::mt19937_64 random(seed);
    bool failing = true;
    DoubleOptions o;
    o.memory = 200 * g;
    o.fault = [&](const char*) { return failing && random() % 10 == 0 ? Code::noMemory : Code::ok; };
    DoubleDriver driver(o);
    Arena arena(driver, options(remaps));
    std::map<Address, std::size_t> held;
    for (int i = 0; i < 2000; i++) {
      if (random() % 2 == 0) {
        const std::size_t n = random() % 3 == 0 ? 1 + random() % (20 * g) : 1 + random() % g;
        try {
          const Address at = arena.allocate(n, 256);
          std::memset(reinterpret_cast<void*>(at), int(i), n);
          held[at] = n;
        } catch (const Failure&) {
        }
      } else if (!held.empty()) {
        auto it = std::next(held.begin(), long(random() % held.size()));
        ASSERT_TRUE(arena.deallocate(it->first));
        held.erase(it);
      }
      const Granules::Count c = arena.count();
      ASSERT_EQ(c.used + c.unused, driver.held().physical + driver.held().plain);
    }
    failing = false;
    for (const auto& h : held) arena.deallocate(h.first);
  }
}

}  // namespace
}  // namespace gpushim
