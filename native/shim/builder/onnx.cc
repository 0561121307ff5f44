#include "onnx.h"

#include <cstdint>
#include <cstring>

#include "../driver.h"

namespace gpushim {

namespace {

// Numbers of the ONNX protobuf messages that are read here.
constexpr std::uint64_t kModelGraph = 7;
constexpr std::uint64_t kGraphNode = 1, kGraphInitializer = 5, kGraphInput = 11, kGraphOutput = 12;
constexpr std::uint64_t kNodeOp = 4, kTensorType = 2, kTensorRaw = 9, kValueName = 1, kFloat = 1;
constexpr std::uint64_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

[[noreturn]] void bad(const char* why) { throw Failure(Code::badModel, why); }

struct Field {
  std::uint64_t number;
  std::uint64_t value;  // of a varint
  std::string bytes;
};

class Reader {
 public:
  explicit Reader(const std::string& message) : message_(message) {}

  bool next(Field* f) {
    if (at_ == message_.size()) return false;
    const std::uint64_t tag = varint();
    *f = {tag >> 3, 0, {}};
    switch (tag & 7) {
      case kVarint:
        f->value = varint();
        break;
      case kFixed64:
        f->bytes = take(8);
        break;
      case kBytes:
        f->bytes = take(varint());
        break;
      case kFixed32:
        f->bytes = take(4);
        break;
      default:
        bad("this is no ONNX file");
    }
    return true;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == message_.size()) bad("the ONNX file is cut short");
      const auto byte = static_cast<unsigned char>(message_[at_++]);
      v |= std::uint64_t(byte & 127) << shift;
      if (byte < 128) return v;
    }
    bad("this is no ONNX file");
  }
  std::string take(std::uint64_t n) {
    if (n > message_.size() - at_) bad("the ONNX file is cut short");
    at_ += n;
    return message_.substr(at_ - n, n);
  }

  const std::string& message_;
  std::size_t at_ = 0;
};

// The bytes of the one field with this number.
std::string only(const std::string& message, std::uint64_t number, const char* otherwise) {
  std::string found;
  int count = 0;
  Field f;
  for (Reader r(message); r.next(&f);) {
    if (f.number != number) continue;
    found = f.bytes;
    count++;
  }
  if (count != 1) bad(otherwise);
  return found;
}

std::uint64_t value(const std::string& message, std::uint64_t number) {
  Field f;
  for (Reader r(message); r.next(&f);) {
    if (f.number == number) return f.value;
  }
  return 0;
}

}  // namespace

std::vector<float> scaleFactors(const std::string& file) {
  const char* const other = "the double makes plans of the models of the family \"scale\" only";
  const std::string graph = only(file, kModelGraph, "this is no ONNX file: it has no graph");
  const std::string op = only(only(graph, kGraphNode, other), kNodeOp, other);
  const std::string in = only(only(graph, kGraphInput, other), kValueName, other);
  const std::string out = only(only(graph, kGraphOutput, other), kValueName, other);
  if (op != "Mul" || in != "input" || out != "output") bad(other);
  const std::string tensor = only(graph, kGraphInitializer, other);
  const std::string data = only(tensor, kTensorRaw, other);
  if (value(tensor, kTensorType) != kFloat || data.empty() || data.size() % sizeof(float) != 0) bad(other);
  std::vector<float> factors(data.size() / sizeof(float));
  std::memcpy(factors.data(), data.data(), data.size());
  return factors;
}

}  // namespace gpushim
