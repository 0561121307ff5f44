#include "options.h"

#include <map>

namespace gpushim {

namespace {

std::uint64_t number(const std::string& option, const std::string& text, std::uint64_t most) {
  std::uint64_t n = 0;
  bool good = !text.empty();
  for (char c : text) {
    good = good && c >= '0' && c <= '9' && n <= (most - std::uint64_t(c - '0')) / 10;
    if (!good) break;
    n = n * 10 + std::uint64_t(c - '0');
  }
  if (!good) throw std::invalid_argument(option + " is \"" + text + "\", and wants a number up to " + std::to_string(most));
  return n;
}

}  // namespace

Command parseCommand(int argc, const char* const* argv) {
  constexpr std::uint64_t kMaxBatch = 1 << 16;
  Command c;
  std::string batch = "1", workspace = "0";
  const std::map<std::string, std::string*> values = {
      {"--onnx", &c.build.onnx},   {"--out", &c.build.out},       {"--precision", &c.build.precision},
      {"--batch", &batch},         {"--workspace", &workspace},   {"--timing-cache", &c.build.timingCache},
      {"--device", &c.build.device}};
  const std::map<std::string, bool*> flags = {{"--describe", &c.describe}, {"--until-stdin-ends", &c.untilStdinEnds}};
  for (int i = 1; i < argc; i++) {
    const std::string option = argv[i];
    if (auto f = flags.find(option); f != flags.end()) {
      *f->second = true;
      continue;
    }
    auto v = values.find(option);
    if (v == values.end()) throw std::invalid_argument("there is no option " + option);
    if (++i == argc) throw std::invalid_argument(option + " wants a value");
    *v->second = argv[i];
  }
  c.build.batch = std::int64_t(number("--batch", batch, kMaxBatch));
  if (c.build.batch == 0) throw std::invalid_argument("--batch is 0, and wants at least 1");
  c.build.workspace = number("--workspace", workspace, std::uint64_t(1) << 50);
  if (c.build.precision != "fp16" && c.build.precision != "fp32") {
    throw std::invalid_argument("--precision is \"" + c.build.precision + "\", and can be fp16 or fp32");
  }
  if (!c.describe && (c.build.onnx.empty() || c.build.out.empty())) {
    throw std::invalid_argument("--onnx FILE and --out FILE are wanted");
  }
  return c;
}

}  // namespace gpushim
