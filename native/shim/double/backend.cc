#include "backend.h"

#include <atomic>
#include <memory>

namespace gpushim {

DoubleBackend::DoubleBackend(DoubleOptions options, bool unified) : driver_(std::move(options)), unified_(unified) {}

DeviceInfo DoubleBackend::info(std::size_t) {
  const std::size_t g = driver_.granularity();
  DeviceInfo d;
  d.id = "GPU-double";
  d.name = "driver double";
  d.unified = unified_;
  d.granules = {16 * g, 4 * g, g};
  d.small = g / 2;
  return d;
}

namespace {

std::size_t number(const std::string& settings, const char* key, std::size_t otherwise) {
  const std::string value = setting(settings, key);
  if (value.empty()) return otherwise;
  try {
    return std::stoull(value);
  } catch (const std::exception&) {
    throw Failure(Code::unavailable, std::string("setting ") + key + "=" + value + " is not a number");
  }
}

// parseFault understands CALL:N:CODE.
std::function<Code(const char*)> parseFault(const std::string& text) {
  if (text.empty()) return nullptr;
  const std::size_t first = text.find(':'), second = text.find(':', first + 1);
  if (first == std::string::npos || second == std::string::npos) {
    throw Failure(Code::unavailable, "setting fault=" + text + " is not CALL:N:CODE");
  }
  const std::string call = text.substr(0, first);
  const std::size_t nth = number("n=" + text.substr(first + 1, second - first - 1), "n", 0);
  const Code code = Code(number("c=" + text.substr(second + 1), "c", 0));
  auto seen = std::make_shared<std::atomic<std::size_t>>(0);
  return [=](const char* called) { return call == called && ++*seen == nth ? code : Code::ok; };
}

}  // namespace

std::unique_ptr<Backend> makeBackend(const std::string& settings) {
  DoubleOptions o;
  o.memory = number(settings, "memory", o.memory);
  o.granularity = number(settings, "granularity", o.granularity);
  o.hiddenCode = number(settings, "hidden_code", 0);
  o.hiddenContext = number(settings, "hidden_context", 0);
  o.hiddenRecording = number(settings, "hidden_recording", 0);
  o.hiddenStep = number(settings, "hidden_step", 1);
  o.fault = parseFault(setting(settings, "fault"));
  return std::make_unique<DoubleBackend>(std::move(o), number(settings, "unified", 0) != 0);
}

const char* describeBackend() { return "driver double"; }

}  // namespace gpushim
