// The double's backend: runs its plans on the host, in the double's streams.
#pragma once

#include "../program.h"
#include "driver.h"

namespace gpushim {

// Settings: memory=BYTES, granularity=BYTES, unified=1, hidden_code=BYTES,
// hidden_context=BYTES, hidden_recording=BYTES, hidden_step=BYTES (see DoubleOptions),
// fault=CALL:N:CODE (the Nth CALL of the driver comes to CODE, a number of
// gpushim_code).
class DoubleBackend : public Backend {
 public:
  explicit DoubleBackend(DoubleOptions options, bool unified = false);

  DoubleDriver& doubleDriver() { return driver_; }
  std::size_t devices() const override { return 1; }
  Driver& driver(std::size_t) override { return driver_; }
  DeviceInfo info(std::size_t) override;
  std::unique_ptr<Loader> loader(std::size_t, Memory& memory) override;

 private:
  DoubleDriver driver_;
  const bool unified_;
};

}  // namespace gpushim
