// What builds found out about kernels, for builds to come.
#pragma once

#include <memory>
#include <string>

#include "files.h"
#include "library.h"

namespace gpushim {

// TimingCache is a file of what earlier builds found out about kernels on this
// device; without a path it is nothing.
class TimingCache {
 public:
  TimingCache(nvinfer1::IBuilderConfig& config, std::string path) : path_(std::move(path)) {
    if (path_.empty()) return;
    const std::string before = readFileIfThere(path_);
    cache_.reset(config.createTimingCache(before.empty() ? nullptr : before.data(), before.size()));
    if (cache_ && config.setTimingCache(*cache_, false)) return;
    // It is another version's or another device's: begin again.
    cache_.reset(config.createTimingCache(nullptr, 0));
    if (cache_) config.setTimingCache(*cache_, false);
  }

  void save() const {
    if (!cache_) return;
    const std::unique_ptr<nvinfer1::IHostMemory> bytes(cache_->serialize());
    if (bytes) replaceFile(path_, std::string(static_cast<const char*>(bytes->data()), bytes->size()));
  }

 private:
  const std::string path_;
  std::unique_ptr<nvinfer1::ITimingCache> cache_;
};

}  // namespace gpushim
