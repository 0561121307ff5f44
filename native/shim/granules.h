// Physical memory of a device, in granules of a few sizes.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "driver.h"

namespace gpushim {

// Granule is a piece of physical memory. It is always accessible at its home,
// whatever else it is mapped to.
struct Granule {
  Handle handle = 0;
  std::size_t bytes = 0;
  Address home = 0;
};

// Granules is the pool of a device's granules, under a budget. It also counts
// what is taken in other ways, so that one number bounds everything.
//
// Mapping costs time for each granule, not for each byte, so memory is made up of
// the largest that fit, and the smallest for the rest. A model comes while models
// of other sizes go: where the size that it wants is not there, it takes smaller
// ones, but never the smallest, of which it would take many. So that they do not
// become many either, a rest that is larger than half of the next size is one of
// that. Granules that are not used are kept, since making one costs more than
// mapping it; they go back to the driver when the budget or the driver is short of
// what another size needs.
class Granules {
 public:
  // sizes in bytes, descending, each a multiple of the next. budget 0: no limit.
  // unmapAll is called before a granule goes back to the driver, which gets memory
  // back only once it is mapped nowhere; false: that was not possible.
  Granules(Driver& driver, std::vector<std::size_t> sizes, std::size_t budget, std::function<bool()> unmapAll);
  // Gives back what is unused, which all of it should be by then.
  ~Granules();
  Granules(const Granules&) = delete;
  Granules& operator=(const Granules&) = delete;

  // What bytes become in granules.
  std::size_t rounded(std::size_t bytes) const;
  // Granules of rounded(bytes) together, or a Failure and nothing taken.
  std::vector<Granule> take(std::size_t bytes);
  void give(const std::vector<Granule>& granules) noexcept;

  // Counts plain memory against the budget, or throws.
  void claim(std::size_t bytes);
  void unclaim(std::size_t bytes) noexcept;

  // Changes the budget; what is unused beyond it goes back to the driver.
  void setBudget(std::size_t bytes) noexcept;
  std::size_t budget() const;

  // Gives all unused granules back to the driver.
  void trim() noexcept;

  // What of the budget others have taken: granules that are in their way go back
  // to the driver.
  void setTaken(std::size_t bytes) noexcept;
  // Likewise, but what others are going to take, until it is ended with -bytes.
  void lend(std::int64_t bytes) noexcept;

  // Bytes that the driver has given to anybody beside these granules.
  [[nodiscard]] Code outside(std::size_t* bytes) const;

  struct Count {
    std::size_t used = 0;    // taken and claimed
    std::size_t unused = 0;  // kept for reuse
  };
  Count count() const;

 private:
  std::vector<Granule> collect(std::size_t bytes);
  bool pop(std::size_t size, std::vector<Granule>* into);
  bool substitute(std::size_t size, std::vector<Granule>* into);
  void make(std::size_t size, std::vector<Granule>* into);
  Code settle(Granule* granule);
  bool release(Granule* granule);
  bool releaseOne(std::size_t wanted);
  void giveWay() noexcept;
  std::size_t others() const { return taken_ + lent_; }
  std::size_t held() const { return used_ + unused_ + others(); }
  std::size_t left() const;
  void requireRoom(std::size_t bytes) const;

  Driver& driver_;
  const std::vector<std::size_t> sizes_;
  const std::function<bool()> unmapAll_;

  // Held across the driver's create and release: they take the driver's own lock
  // anyway, and the budget is exact this way.
  mutable std::mutex mutex_;
  std::size_t budget_;
  std::map<std::size_t, std::vector<Granule>> free_;
  std::size_t used_ = 0, unused_ = 0;
  std::size_t taken_ = 0, lent_ = 0;  // by and to others
};

}  // namespace gpushim
