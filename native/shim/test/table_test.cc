// The C table as Go uses it.
#include "support.h"

namespace gpushim {
namespace {

class TableTest : public ::testing::Test {
 protected:
  const gpushim_table* table = gpushim_get(GPUSHIM_VERSION);
  gpushim_error error{};
  int open(const char* settings, gpushim_engine** engine) {
    gpushim_config config{};
    config.slots = 1;
    config.settings = settings;
    return table->open_engine(&config, engine, &error);
  }
};

TEST_F(TableTest, Versions) {
  EXPECT_EQ(gpushim_get(0), nullptr);
  EXPECT_EQ(gpushim_get(GPUSHIM_VERSION + 1), nullptr);
  EXPECT_EQ(table->version, uint32_t(GPUSHIM_VERSION));
}

TEST_F(TableTest, AModelsLife) {
  gpushim_engine* engine = nullptr;
  ASSERT_EQ(open(nullptr, &engine), GPUSHIM_OK);
  ASSERT_EQ(table->device_count(engine), 1u);
  gpushim_device device{};
  ASSERT_EQ(table->device(engine, 0, &device, &error), GPUSHIM_OK);
  EXPECT_STREQ(device.id, "GPU-double");
  EXPECT_EQ(table->device(engine, 1, &device, &error), GPUSHIM_FAILED);

  PlanFile plan(50000);
  gpushim_model* model = nullptr;
  ASSERT_EQ(table->open_model(engine, plan.path.c_str(), &model, &error), GPUSHIM_OK);
  gpushim_spec spec{};
  EXPECT_EQ(table->spec(model, &spec, &error), GPUSHIM_FAILED) << "not known yet";
  ASSERT_EQ(table->load(model, 0, &error), GPUSHIM_OK) << error.message;
  EXPECT_EQ(table->load(model, 0, &error), GPUSHIM_FAILED);
  ASSERT_EQ(table->spec(model, &spec, &error), GPUSHIM_OK);
  EXPECT_EQ(spec.inputs, 1u);
  EXPECT_EQ(spec.outputs, 2u);
  gpushim_tensor_spec tensor{};
  ASSERT_EQ(table->tensor(model, 1, &tensor, &error), GPUSHIM_OK);
  EXPECT_STREQ(tensor.name, "y");
  EXPECT_EQ(tensor.type, GPUSHIM_FP32);
  EXPECT_EQ(table->tensor(model, 3, &tensor, &error), GPUSHIM_FAILED);

  std::vector<float> x = someInput(1), y(8), total(1);
  gpushim_tensor in = tensorOf(x, {16});
  gpushim_tensor out[] = {tensorOf(y, {8}), tensorOf(total, {1})};
  ASSERT_EQ(table->run(model, 0, 0, &in, out, &error), GPUSHIM_OK);
  EXPECT_EQ(y, plan.answer(x));
  ASSERT_EQ(table->evict(model, 0, &error), GPUSHIM_OK);
  EXPECT_EQ(table->run(model, 0, 0, &in, out, &error), GPUSHIM_FAILED);
  EXPECT_NE(std::string(error.message).find("not loaded"), std::string::npos);
  EXPECT_EQ(table->close_model(model, &error), GPUSHIM_OK);
  table->close_engine(engine);
}

TEST_F(TableTest, Failures) {
  gpushim_engine* engine = nullptr;
  EXPECT_EQ(open("memory=lots", &engine), GPUSHIM_UNAVAILABLE);
  EXPECT_NE(std::string(error.message).find("memory=lots"), std::string::npos);
  EXPECT_EQ(open("fault=createStream:1:6", &engine), GPUSHIM_FAILED);
  EXPECT_EQ(engine, nullptr);
  ASSERT_EQ(open("fault=launch:1:2", &engine), GPUSHIM_OK);
  gpushim_model* model = nullptr;
  EXPECT_EQ(table->open_model(engine, "/no/such/file", &model, &error), GPUSHIM_BAD_MODEL);
  PlanFile plan(50000);
  ASSERT_EQ(table->open_model(engine, plan.path.c_str(), &model, &error), GPUSHIM_OK);
  EXPECT_EQ(table->load(model, 0, &error), GPUSHIM_DEVICE_LOST);
  EXPECT_EQ(table->load(model, 0, &error), GPUSHIM_DEVICE_LOST);
  table->close_model(model, &error);
  table->close_engine(engine);
}

}  // namespace
}  // namespace gpushim
