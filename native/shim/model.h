// A plan file, and what became of it on each device.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "placement.h"

namespace gpushim {

// Model is an open plan.
class Model {
 public:
  // Throws badModel where there is no such file.
  Model(const std::vector<std::unique_ptr<Device>>& devices, std::string path);

  Placement& on(std::uint32_t device);
  void load(std::uint32_t device);
  bool loadedAnywhere() const;
  const Spec& spec() const;  // throws before the first load
  void cost(std::uint32_t device, gpushim_cost* c) const;

 private:
  std::shared_ptr<const std::string> plan();
  std::string read() const;

  const std::string path_;
  std::size_t fileBytes_ = 0;
  // Some device deserializes at each load and has memory apart from the host's:
  // then the plan stays in memory once it was read.
  bool keepPlan_ = false;
  std::mutex planLock_;
  std::shared_ptr<const std::string> plan_;

  std::vector<std::unique_ptr<Placement>> placements_;
  std::atomic<const Spec*> spec_{nullptr};
};

}  // namespace gpushim
