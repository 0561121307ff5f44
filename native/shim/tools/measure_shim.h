// The shim through its table, as measure and ledger call it.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../program.h"

namespace gpushim {

using Clock = std::chrono::steady_clock;

inline double msSince(Clock::time_point t) {
  return std::chrono::duration<double, std::milli>(Clock::now() - t).count();
}

inline double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

[[noreturn]] inline void die(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::exit(1);
}

// Line is one JSON object.
class Line {
 public:
  void add(const char* name, const char* format, double value) {
    char text[64];
    std::snprintf(text, sizeof text, format, value);
    fields_ += std::string(fields_.empty() ? "" : ", ") + "\"" + name + "\": " + text;
  }
  void name(const char* model) { fields_ = std::string("\"model\": \"") + model + "\""; }
  void print() const { std::printf("{%s}\n", fields_.c_str()); }

 private:
  std::string fields_;
};

// Shim is an engine behind the C table with models that have the same input, only one,
// and the same first output.
class Shim {
 public:
  Shim(const char* library, const std::vector<std::string>& plans, std::uint32_t slots = 2,
       const char* settings = "") {
    void* loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == nullptr) die(dlerror());
    auto get = reinterpret_cast<const gpushim_table* (*)(uint32_t)>(dlsym(loaded, "gpushim_get"));
    table_ = get(GPUSHIM_VERSION);
    if (table_ == nullptr) die("the library has another version of the table");
    gpushim_config config{};
    config.slots = slots;
    config.settings = settings;
    must(table_->open_engine(&config, &engine_, &error_));
    models_.resize(plans.size());
    for (std::size_t i = 0; i < plans.size(); i++) {
      must(table_->open_model(engine_, plans[i].c_str(), &models_[i], &error_));
    }
  }
  ~Shim() {
    for (auto& m : models_) table_->close_model(m, &error_);
    table_->close_engine(engine_);
    std::free(memory_);
  }

  void load(std::size_t i) {
    gpushim_error e{};
    if (table_->load(models_[i], 0, &e) != GPUSHIM_OK) die(e.message);
  }
  void evict(std::size_t i) {
    gpushim_error e{};
    if (table_->evict(models_[i], 0, &e) != GPUSHIM_OK) die(e.message);
  }
  gpushim_cost cost(std::size_t i) {
    gpushim_cost c{};
    table_->cost(models_[i], 0, &c);
    return c;
  }
  gpushim_device device() {
    gpushim_device d{};
    must(table_->device(engine_, 0, &d, &error_));
    return d;
  }
  std::size_t freeBytes() { return device().free_bytes; }

  // prepare makes the tensors of every run; the first model has been loaded.
  void prepare() {
    gpushim_spec spec{};
    must(table_->spec(models_[0], &spec, &error_));
    input_ = describe(0);
    output_.assign(spec.outputs, gpushim_tensor{});
    output_[0] = describe(spec.inputs);
    const std::size_t page = 4096, at = (input_.bytes + page - 1) / page * page;
    pinnedBytes_ = at + (output_[0].bytes + page - 1) / page * page;
    memory_ = static_cast<char*>(std::aligned_alloc(page, 2 * pinnedBytes_));
    auto* x = reinterpret_cast<float*>(memory_);
    for (std::size_t i = 0; i < input_.bytes / sizeof(float); i++) x[i] = float(i * 2654435761u % 2001) / 1000 - 1;
    std::memcpy(memory_ + pinnedBytes_, memory_, pinnedBytes_);
    must(table_->pin(engine_, memory_, pinnedBytes_, &error_));
    outputAt_ = at;
  }
  void unpin() { must(table_->unpin(engine_, memory_, &error_)); }

  // run uses tensors in memory that is pinned, or not.
  std::string run(std::size_t i, bool pinned = true, std::uint32_t slot = 0) {
    gpushim_error e{};
    char* memory = memory_ + (pinned ? 0 : pinnedBytes_);
    gpushim_tensor in = input_;
    std::vector<gpushim_tensor> out = output_;
    in.data = memory;
    out[0].data = memory + outputAt_;
    if (table_->run(models_[i], 0, slot, &in, out.data(), &e) != GPUSHIM_OK) die(e.message);
    return std::string(memory + outputAt_, out[0].bytes);
  }
  std::size_t inputBytes() const { return input_.bytes; }
  std::size_t outputBytes() const { return output_[0].bytes; }

 private:
  void must(int code) {
    if (code != GPUSHIM_OK) die(error_.message);
  }
  gpushim_tensor describe(uint32_t index) {
    gpushim_tensor_spec s{};
    must(table_->tensor(models_[0], index, &s, &error_));
    Shape shape;
    shape.rank = s.rank;
    // One row, where the first dimension is dynamic.
    std::transform(s.shape, s.shape + s.rank, shape.dims, [](std::int64_t d) { return d < 0 ? 1 : d; });
    gpushim_tensor t{};
    t.rank = s.rank;
    std::copy(shape.dims, shape.dims + s.rank, t.shape);
    t.bytes = tensorBytes(s.type, shape);
    return t;
  }

  const gpushim_table* table_ = nullptr;
  gpushim_engine* engine_ = nullptr;
  std::vector<gpushim_model*> models_;
  gpushim_error error_{};
  gpushim_tensor input_{};
  std::vector<gpushim_tensor> output_;
  char* memory_ = nullptr;
  std::size_t pinnedBytes_ = 0, outputAt_ = 0;
};

}  // namespace gpushim
