// The C table: turns handles into objects and exceptions into codes.
#include <algorithm>
#include <cstring>
#include <exception>

#include "model.h"

using gpushim::Code;
using gpushim::Failure;

struct gpushim_engine {
  std::unique_ptr<gpushim::Backend> backend;
  std::unique_ptr<gpushim::HostPool> host;
  std::vector<std::unique_ptr<gpushim::Device>> devices;
};

struct gpushim_model {
  gpushim_engine* engine;
  std::unique_ptr<gpushim::Model> model;
};

namespace {

void say(gpushim_error* error, const char* text) {
  if (error == nullptr) return;
  std::strncpy(error->message, text, sizeof error->message - 1);
  error->message[sizeof error->message - 1] = 0;
}

// guard runs f; nothing that it throws gets out.
template <typename F>
int guard(gpushim_error* error, F f) noexcept {
  try {
    f();
    return GPUSHIM_OK;
  } catch (const Failure& e) {
    say(error, e.what());
    return int(e.code);
  } catch (const std::bad_alloc&) {
    say(error, "the host has no memory");
    return GPUSHIM_NO_MEMORY;
  } catch (const std::exception& e) {
    say(error, e.what());
  } catch (...) {
    say(error, "an unknown exception");
  }
  return GPUSHIM_FAILED;
}

gpushim::Device& deviceOf(gpushim_engine* engine, uint32_t device) {
  if (device >= engine->devices.size()) throw Failure(Code::failed, "there is no device " + std::to_string(device));
  gpushim::Device& d = *engine->devices[device];
  check(d.driver(), d.driver().enter(), "use the device");
  return d;
}

int openEngine(const gpushim_config* config, gpushim_engine** out, gpushim_error* error) {
  return guard(error, [&] {
    auto engine = std::make_unique<gpushim_engine>();
    engine->backend = gpushim::makeBackend(config->settings != nullptr ? config->settings : "");
    engine->host = std::make_unique<gpushim::HostPool>(config->host_bytes);
    gpushim::DeviceOptions options;
    options.budget = config->device_bytes;
    options.slots = std::max(1u, config->slots);
    if (config->transfers != 0) options.transfers = config->transfers;
    options.noRemap = config->no_remap != 0;
    for (std::size_t i = 0; i < engine->backend->devices(); i++) {
      engine->devices.push_back(std::make_unique<gpushim::Device>(*engine->backend, i, *engine->host, options));
    }
    *out = engine.release();
  });
}

void closeEngine(gpushim_engine* engine) {
  if (engine == nullptr) return;
  for (auto& d : engine->devices) {
    (void)d->driver().enter();
    d.reset();
  }
  delete engine;
}

uint32_t deviceCount(gpushim_engine* engine) { return uint32_t(engine->devices.size()); }

int describeDevice(gpushim_engine* engine, uint32_t device, gpushim_device* out, gpushim_error* error) {
  return guard(error, [&] { deviceOf(engine, device).describe(out); });
}

int openModel(gpushim_engine* engine, const char* path, gpushim_model** out, gpushim_error* error) {
  return guard(error, [&] {
    auto model = std::make_unique<gpushim_model>();
    model->engine = engine;
    model->model = std::make_unique<gpushim::Model>(engine->devices, path);
    *out = model.release();
  });
}

int closeModel(gpushim_model* model, gpushim_error* error) {
  return guard(error, [&] {
    std::unique_ptr<gpushim_model> gone(model);
    if (gone->model->loadedAnywhere()) throw Failure(Code::failed, "it was closed while it was loaded");
  });
}

int describeModel(gpushim_model* model, gpushim_spec* out, gpushim_error* error) {
  return guard(error, [&] {
    const gpushim::Spec& spec = model->model->spec();
    out->inputs = uint32_t(spec.inputs.size());
    out->outputs = uint32_t(spec.outputs.size());
    out->max_batch = spec.maxBatch;
  });
}

int describeTensor(gpushim_model* model, uint32_t index, gpushim_tensor_spec* out, gpushim_error* error) {
  return guard(error, [&] {
    const gpushim::Spec& spec = model->model->spec();
    if (index >= spec.inputs.size() + spec.outputs.size()) throw Failure(Code::failed, "there is no such tensor");
    const gpushim::TensorInfo& t =
        index < spec.inputs.size() ? spec.inputs[index] : spec.outputs[index - spec.inputs.size()];
    std::memset(out, 0, sizeof *out);
    std::strncpy(out->name, t.name.c_str(), sizeof out->name - 1);
    out->type = t.type;
    out->rank = t.shape.rank;
    std::copy(t.shape.dims, t.shape.dims + t.shape.rank, out->shape);
  });
}

void describeCost(gpushim_model* model, uint32_t device, gpushim_cost* out) { model->model->cost(device, out); }

int load(gpushim_model* model, uint32_t device, gpushim_error* error) {
  return guard(error, [&] {
    deviceOf(model->engine, device);
    model->model->load(device);
  });
}

int evict(gpushim_model* model, uint32_t device, gpushim_error* error) {
  return guard(error, [&] {
    model->model->on(device).evict();
  });
}

int shapes(gpushim_model* model, uint32_t device, const gpushim_tensor* in, gpushim_tensor* out,
           gpushim_error* error) {
  return guard(error, [&] {
    deviceOf(model->engine, device);
    model->model->on(device).shapes(in, out);
  });
}

int run(gpushim_model* model, uint32_t device, uint32_t slot, const gpushim_tensor* in, const gpushim_tensor* out,
        gpushim_error* error) {
  return guard(error, [&] {
    deviceOf(model->engine, device);
    model->model->on(device).run(slot, in, out);
  });
}

int pin(gpushim_engine* engine, void* memory, uint64_t bytes, gpushim_error* error) {
  return guard(error, [&] { engine->host->pin(deviceOf(engine, 0).driver(), memory, bytes); });
}

int unpin(gpushim_engine* engine, void* memory, gpushim_error* error) {
  return guard(error, [&] { engine->host->unpin(deviceOf(engine, 0).driver(), memory); });
}

int lend(gpushim_engine* engine, uint32_t device, int64_t bytes, gpushim_error* error) {
  return guard(error, [&] { deviceOf(engine, device).arena().lend(bytes); });
}

int limit(gpushim_engine* engine, uint32_t device, uint64_t bytes, gpushim_error* error) {
  return guard(error, [&] { deviceOf(engine, device).arena().setBudget(bytes); });
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const gpushim_table* gpushim_get(uint32_t version) {
  static const gpushim_table table = {
      GPUSHIM_VERSION, gpushim::describeBackend(), openEngine,   closeEngine,  deviceCount, describeDevice, openModel,
      closeModel,      describeModel,              describeTensor, describeCost, load,        evict,          shapes,
      run,             pin,                        unpin,          lend,         limit,
  };
  return version == GPUSHIM_VERSION ? &table : nullptr;
}
