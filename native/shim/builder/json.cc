#include "json.h"

#include <cstdint>
#include <cstdio>

namespace gpushim {

void Json::name(const char* name) {
  if (!members_.empty()) members_ += ",";
  members_ += std::string("\"") + name + "\":";
}

Json& Json::text(const char* member, const std::string& value) {
  name(member);
  members_ += '"';
  for (char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    char escaped[8];
    // Messages come from libraries, in no encoding that they state.
    std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
    if (c == '"' || c == '\\') {
      members_ += std::string("\\") + c;
    } else if (byte < 0x20 || byte > 0x7e) {
      members_ += escaped;
    } else {
      members_ += c;
    }
  }
  members_ += '"';
  return *this;
}

Json& Json::number(const char* member, double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", value);
  name(member);
  members_ += text;
  return *this;
}

Json& Json::integer(const char* member, std::uint64_t value) {
  name(member);
  members_ += std::to_string(value);
  return *this;
}

Json& Json::yes(const char* member) {
  name(member);
  members_ += "true";
  return *this;
}

void Json::print() const {
  std::printf("{%s}\n", members_.c_str());
  std::fflush(stdout);
}

}  // namespace gpushim
