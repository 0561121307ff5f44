#pragma once

#include <cstdint>
#include <string>

namespace gpushim {

// Json is one object, written member by member.
class Json {
 public:
  Json& text(const char* name, const std::string& value);
  Json& number(const char* name, double value);
  Json& integer(const char* name, std::uint64_t value);
  Json& yes(const char* name);
  // To standard output, as one line, at once.
  void print() const;

 private:
  void name(const char* name);

  std::string members_;
};

}  // namespace gpushim
