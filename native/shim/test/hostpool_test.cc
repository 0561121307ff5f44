#include "support.h"

namespace gpushim {
namespace {

TEST(HostPool, KnowsWhatIsPinned) {
  DoubleDriver driver({});
  HostPool pool(100);
  std::vector<char> memory(4096);
  char* p = memory.data();
  pool.pin(driver, p, 1000);
  pool.pin(driver, p + 2000, 1000);
  EXPECT_EQ(pool.used(), 0u) << "it is not of the budget";
  for (auto [at, bytes, want] : std::vector<std::tuple<int, int, bool>>{{0, 1000, true},
                                                                        {0, 1001, false},
                                                                        {999, 1, true},
                                                                        {999, 2, false},
                                                                        {1000, 1, false},
                                                                        {1500, 100, false},
                                                                        {1999, 2, false},
                                                                        {2500, 500, true},
                                                                        {3000, 1, false}}) {
    EXPECT_EQ(pool.pinned(p + at, std::size_t(bytes)), want) << at << ", " << bytes << " bytes";
  }
  EXPECT_EQ(codeOf([&] { pool.pin(driver, p + 500, 1000); }), Code::failed) << "it overlaps";
  EXPECT_EQ(codeOf([&] { pool.pin(driver, nullptr, 10); }), Code::failed);
  EXPECT_EQ(codeOf([&] { pool.pin(driver, p + 3500, 0); }), Code::failed);
  EXPECT_EQ(codeOf([&] { pool.unpin(driver, p + 1); }), Code::failed);
  pool.unpin(driver, p);
  EXPECT_FALSE(pool.pinned(p, 1));
  EXPECT_TRUE(pool.pinned(p + 2000, 1));
  pool.unpin(driver, p + 2000);
  EXPECT_TRUE(driver.held().nothing());
}

}  // namespace
}  // namespace gpushim
