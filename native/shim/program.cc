#include "program.h"

namespace gpushim {

std::size_t elementBytes(int type) {
  switch (type) {
    case GPUSHIM_BOOL:
    case GPUSHIM_UINT8:
    case GPUSHIM_INT8:
      return 1;
    case GPUSHIM_FP16:
    case GPUSHIM_BF16:
      return 2;
    case GPUSHIM_INT32:
    case GPUSHIM_FP32:
      return 4;
    case GPUSHIM_INT64:
      return 8;
  }
  return 0;
}

std::size_t tensorBytes(int type, const Shape& shape) {
  constexpr std::size_t most = std::size_t(1) << 48;
  std::size_t n = elementBytes(type);
  for (std::uint32_t i = 0; i < shape.rank; i++) {
    const std::int64_t d = shape.dims[i];
    if (d < 0 || (d > 0 && n > most / std::size_t(d))) throw Failure(Code::badInput, "a tensor has an impossible shape");
    n *= std::size_t(d);
  }
  return n;
}

std::string setting(const std::string& settings, const std::string& key) {
  for (std::size_t at = 0; at < settings.size();) {
    std::size_t end = settings.find(';', at);
    if (end == std::string::npos) end = settings.size();
    if (settings.compare(at, key.size() + 1, key + "=") == 0) {
      return settings.substr(at + key.size() + 1, end - at - key.size() - 1);
    }
    at = end + 1;
  }
  return "";
}

}  // namespace gpushim
