// The parts of the builder that read what comes from outside.
#include "../builder/files.h"
#include "../builder/onnx.h"
#include "../builder/options.h"
#include "support.h"

namespace gpushim {

namespace {

// Protobuf, as much as an ONNX file needs.
std::string varint(std::uint64_t v) {
  std::string s;
  for (; v >= 128; v >>= 7) s += char(v | 128);
  return s + char(v);
}

std::string field(std::uint64_t number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}

std::string field(std::uint64_t number, std::uint64_t value) { return varint(number << 3) + varint(value); }

std::string floats(const std::vector<float>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

std::string scaleFile(const std::vector<float>& factors, const char* op = "Mul") {
  const std::string node = field(1, "input") + field(1, "factors") + field(2, "output") + field(4, op);
  const std::string tensor = field(1, factors.size()) + field(2, 1) + field(8, "factors") + field(9, floats(factors));
  const std::string graph = field(1, node) + field(2, "scale") + field(5, tensor) + field(11, field(1, "input")) +
                            field(12, field(1, "output"));
  return field(1, 8) + field(7, graph);
}

Code codeOf(const std::string& file) {
  try {
    (void)scaleFactors(file);
  } catch (const Failure& f) {
    return f.code;
  }
  return Code::ok;
}

TEST(OnnxTest, Factors) {
  const std::vector<float> factors = {1.5f, -2, 0, 1e-40f};
  EXPECT_EQ(scaleFactors(scaleFile(factors)), factors);
  EXPECT_EQ(codeOf(scaleFile(factors, "Add")), Code::badModel);
  EXPECT_EQ(codeOf(scaleFile({})), Code::badModel);
  EXPECT_EQ(codeOf(""), Code::badModel);
  EXPECT_EQ(codeOf(field(7, varint(1 << 3 | 3))), Code::badModel);  // a group, which ONNX has none of
  EXPECT_EQ(codeOf(std::string(20, '\xff')), Code::badModel);       // a varint without end
}

TEST(OnnxTest, CutFiles) {
  const std::string file = scaleFile({1, 2, 3, 4});
  for (std::size_t n = 0; n < file.size(); n++) EXPECT_EQ(codeOf(file.substr(0, n)), Code::badModel) << n;
}

// Whatever comes in, it is factors or a bad model.
TEST(OnnxTest, DamagedFiles) {
  std::mt19937_64 random(newSeed());
  const std::string file = scaleFile({1, 2, 3, 4});
  for (int i = 0; i < 20000; i++) {
    std::string damaged = file;
    for (std::uint64_t changes = 1 + random() % 4; changes > 0; changes--) damaged[random() % file.size()] = char(random());
    const Code code = codeOf(damaged);
    EXPECT_TRUE(code == Code::ok || code == Code::badModel);
  }
}

Command parse(std::vector<const char*> args) {
  args.insert(args.begin(), "gpushim-build");
  return parseCommand(int(args.size()), args.data());
}

TEST(OptionsTest, Defaults) {
  const Command c = parse({"--onnx", "a", "--out", "b"});
  EXPECT_EQ(c.build.onnx, "a");
  EXPECT_EQ(c.build.out, "b");
  EXPECT_EQ(c.build.precision, "fp16");
  EXPECT_EQ(c.build.batch, 1);
  EXPECT_EQ(c.build.workspace, 0u);
  EXPECT_FALSE(c.describe || c.untilStdinEnds);
}

TEST(OptionsTest, All) {
  const Command c = parse({"--workspace", "1073741824", "--batch", "65536", "--precision", "fp32", "--device", "GPU-1",
                           "--timing-cache", "t", "--until-stdin-ends", "--describe"});
  EXPECT_EQ(c.build.workspace, 1u << 30);
  EXPECT_EQ(c.build.batch, 65536);
  EXPECT_EQ(c.build.precision, "fp32");
  EXPECT_EQ(c.build.device, "GPU-1");
  EXPECT_EQ(c.build.timingCache, "t");
  EXPECT_TRUE(c.describe && c.untilStdinEnds);
}

TEST(OptionsTest, Wrong) {
  const std::vector<std::vector<const char*>> wrong = {
      {}, {"--onnx", "a"}, {"--batch", "0", "--describe"}, {"--batch", "65537", "--describe"}, {"--batch", "", "--describe"},
      {"--batch", "-1", "--describe"}, {"--workspace", "18446744073709551616", "--describe"}, {"--onnx"}, {"describe"}};
  for (const auto& args : wrong) EXPECT_THROW(parse(args), std::invalid_argument) << (args.empty() ? "" : args[0]);
}

TEST(FilesTest, ReplaceLeavesNothingBehind) {
  const std::string path = ::testing::TempDir() + "replace-" + std::to_string(getpid());
  replaceFile(path, "old");
  replaceFile(path, "new");
  EXPECT_EQ(readFile(path), "new");
  EXPECT_NE(access((path + "." + std::to_string(getpid()) + ".tmp").c_str(), F_OK), 0);
  std::remove(path.c_str());
  EXPECT_EQ(readFileIfThere(path), "");
  EXPECT_THROW(readFile(path), Failure);
  EXPECT_THROW(replaceFile("/no/such/folder/file", "new"), Failure);
}

}  // namespace

}  // namespace gpushim
