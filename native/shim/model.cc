#include "model.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace gpushim {

namespace {
// What a model takes in host memory beside its weights: names, shapes, lists.
constexpr std::size_t kBookkeeping = 64 << 10;
}  // namespace

Model::Model(const std::vector<std::unique_ptr<Device>>& devices, std::string path) : path_(std::move(path)) {
  struct stat info{};
  if (::stat(path_.c_str(), &info) != 0) throw Failure(Code::badModel, path_ + ": " + std::strerror(errno));
  if (!S_ISREG(info.st_mode)) throw Failure(Code::badModel, path_ + " is not a regular file");
  if (info.st_size == 0) throw Failure(Code::badModel, path_ + " is empty");
  fileBytes_ = std::size_t(info.st_size);
  for (const auto& device : devices) {
    keepPlan_ = keepPlan_ || (!device->arena().remaps() && !device->info().unified);
    check(device->driver(), device->driver().enter(), "use the device");
    placements_.push_back(std::make_unique<Placement>(*device));
  }
}

Placement& Model::on(std::uint32_t device) {
  if (device >= placements_.size()) throw Failure(Code::failed, "there is no device " + std::to_string(device));
  return *placements_[device];
}

void Model::load(std::uint32_t device) {
  Placement& placement = on(device);
  std::shared_ptr<const std::string> bytes;
  if (placement.needsPlan()) bytes = plan();
  placement.load(bytes.get());
  const Spec* none = nullptr;
  spec_.compare_exchange_strong(none, &placement.spec());
}

std::shared_ptr<const std::string> Model::plan() {
  std::lock_guard<std::mutex> lock(planLock_);
  if (plan_) return plan_;
  auto bytes = std::make_shared<const std::string>(read());
  if (keepPlan_) plan_ = bytes;
  return bytes;
}

std::string Model::read() const {
  std::ifstream file(path_, std::ios::binary);
  std::string bytes(fileBytes_, '\0');
  if (!file.read(bytes.data(), std::streamsize(bytes.size()))) {
    throw Failure(Code::badModel, path_ + ": cannot read " + std::to_string(fileBytes_) + " bytes");
  }
  return bytes;
}

bool Model::loadedAnywhere() const {
  for (const auto& p : placements_) {
    if (p->loaded()) return true;
  }
  return false;
}

const Spec& Model::spec() const {
  const Spec* spec = spec_.load();
  if (spec == nullptr) throw Failure(Code::failed, "a plan's inputs are known once it was loaded");
  return *spec;
}

void Model::cost(std::uint32_t device, gpushim_cost* c) const {
  *c = gpushim_cost{};
  if (device < placements_.size()) placements_[device]->cost(c);
  if (!c->measured) {
    // A plan is little more than its weights; while it is deserialized there may
    // be parts of it twice.
    c->resident = fileBytes_ + (2 << 20);
    c->peak = c->resident + fileBytes_ / 4;
    c->host = fileBytes_;
  } else if (keepPlan_) {
    c->host += fileBytes_;
  }
  c->host += kBookkeeping;
}

}  // namespace gpushim
