#include "support.h"

namespace gpushim {
namespace {

TEST(Slabs, JoinsWhatComesBack) {
  Slabs s;
  s.addChunk(1 << 20, 1024);
  const Address a = s.allocate(1, 1), b = s.allocate(256, 256), c = s.allocate(300, 512);
  EXPECT_EQ(a, Address(1 << 20));
  EXPECT_EQ(b, a + 256);
  EXPECT_EQ(c, a + 512);
  EXPECT_EQ(s.allocate(1, 1), 0u) << "full";
  bool known = false;
  EXPECT_EQ(s.deallocate(a, &known), 0u);
  EXPECT_TRUE(known);
  EXPECT_EQ(s.deallocate(c, &known), 0u);
  EXPECT_EQ(s.allocate(513, 1), 0u) << "two holes are not one";
  EXPECT_EQ(s.deallocate(b, &known), Address(1 << 20)) << "the chunk is unused";
  EXPECT_EQ(s.spare(), 1024u);
  EXPECT_EQ(s.allocate(1024, 256), a);
  s.deallocate(a + 256, &known);
  EXPECT_FALSE(known);
  s.deallocate(5, &known);
  EXPECT_FALSE(known);
}

TEST(Slabs, RandomAllocationsNeverOverlap) {
  std::mt19937_64 random(newSeed());
  Slabs s;
  const Address base = 1 << 30;
  for (int i = 0; i < 4; i++) s.addChunk(base + Address(i) * (1 << 20), 64 << 10);
  std::map<Address, std::size_t> held;
  for (int i = 0; i < 20000; i++) {
    if (random() % 2 == 0) {
      const std::size_t n = 1 + random() % 6000, alignment = std::size_t(1) << (random() % 13);
      const Address at = s.allocate(n, alignment);
      if (at == 0) continue;
      ASSERT_EQ(at % alignment, 0u);
      auto next = held.lower_bound(at);
      if (next != held.end()) {
        ASSERT_LE(at + n, next->first);
      }
      if (next != held.begin()) {
        ASSERT_LE(std::prev(next)->first + std::prev(next)->second, at);
      }
      held[at] = n;
    } else if (!held.empty()) {
      auto it = std::next(held.begin(), long(random() % held.size()));
      bool known = false;
      s.deallocate(it->first, &known);
      ASSERT_TRUE(known);
      held.erase(it);
    }
  }
  for (const auto& h : held) {
    bool known = false;
    s.deallocate(h.first, &known);
  }
  EXPECT_EQ(s.spare(), 4u * (64 << 10));
}

}  // namespace
}  // namespace gpushim
