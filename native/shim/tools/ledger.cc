// ledger finds out what takes device memory without being asked for it:
//
//	ledger LIBGPUSHIM PLANS SLOTS [SETTINGS]
//
// PLANS is a folder of plans with the same input and output. They are loaded for the
// first time one after the other, then others four at a time beside models that come
// and go; then run in each slot, and until runs are recorded. One line of JSON says
// after each step, for each model, what the driver has given beside weights and
// buffers, and what the shim says of it. The last figure is how long loads take in
// random order of all models, which is more host memory than caches hold.
#include "measure_shim.h"

#include <atomic>
#include <filesystem>
#include <random>
#include <thread>

namespace {

using namespace gpushim;

// Books compares the shim's numbers with the driver's.
class Books {
 public:
  Books(Shim& shim, Line* line)
      : shim_(shim), line_(line), outside_(outside()), others_(outside_ - double(shim.device().outside_bytes)) {}

  // step ends a step that some models went through.
  void step(const std::string& name, std::size_t models) {
    const double now = outside(), each = 1e6 * double(models);
    line_->add((name + "_mb").c_str(), "%.4f", (now - outside_) / each);
    line_->add((name + "_unexplained_mb").c_str(), "%.3f", unexplained() / 1e6);
    outside_ = now;
  }

 private:
  // outside is what the driver has given to anybody, but for what the shim asked for.
  double outside() {
    const gpushim_device d = shim_.device();
    return double(d.total_bytes) - double(d.free_bytes) - (double(d.taken_bytes) - double(d.outside_bytes));
  }
  // unexplained is what of it came since the beginning, and the shim does not count.
  double unexplained() { return outside() - others_ - double(shim_.device().outside_bytes); }

  Shim& shim_;
  Line* line_;
  double outside_;
  const double others_;  // not ours, or there before a model was
};

void visit(Shim& shim, std::size_t model) {
  shim.load(model);
  shim.evict(model);
}

// beside has models of [from, to) visited by some threads while the first two come and
// go.
void beside(Shim& shim, std::size_t from, std::size_t to) {
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> next{from};
  std::vector<std::thread> others, loaders;
  for (std::size_t own : {0, 1}) {
    others.emplace_back([&, own] {
      while (!stop) visit(shim, own);
    });
  }
  for (int i = 0; i < 4; i++) {
    loaders.emplace_back([&] {
      for (std::size_t m = next++; m < to; m = next++) visit(shim, m);
    });
  }
  for (auto& t : loaders) t.join();
  stop = true;
  for (auto& t : others) t.join();
}

void runs(Shim& shim, std::size_t models, std::uint32_t slot, int count) {
  for (std::size_t m = 0; m < models; m++) {
    shim.load(m);
    for (int i = 0; i < count; i++) shim.run(m, true, slot);
    shim.evict(m);
  }
}

double loadsInRandomOrder(Shim& shim, std::size_t models) {
  std::mt19937_64 random(1);
  std::vector<double> ms;
  for (int i = 0; i < 400; i++) {
    const std::size_t m = random() % models;
    const auto t = Clock::now();
    shim.load(m);
    ms.push_back(msSince(t));
    shim.evict(m);
  }
  return median(ms);
}

std::vector<std::string> plansOf(const char* folder) {
  std::vector<std::string> plans;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".plan") plans.push_back(entry.path());
  }
  std::sort(plans.begin(), plans.end());
  if (plans.size() < 8) die(std::string(folder) + " has fewer than eight plans");
  if (plans.size() > 160) plans.resize(160);
  return plans;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) die("usage: ledger LIBGPUSHIM PLANS SLOTS [SETTINGS]");
  const std::vector<std::string> plans = plansOf(argv[2]);
  const std::size_t models = plans.size(), half = models / 2;
  const auto slots = std::uint32_t(std::max(1, std::atoi(argv[3])));
  Line line;
  line.name("ledger");
  Shim shim(argv[1], plans, slots, argc == 5 ? argv[4] : "");
  line.add("models", "%.0f", double(models));
  line.add("slots", "%.0f", slots);
  visit(shim, 0);  // with it comes what all have in common
  visit(shim, 1);
  shim.prepare();
  Books books(shim, &line);
  for (std::size_t m = 2; m < half; m++) visit(shim, m);
  books.step("first_load", half - 2);
  beside(shim, half, models);
  books.step("first_load_beside_others", models - half);
  for (std::uint32_t slot = 0; slot < slots; slot++) {
    runs(shim, half, slot, 2);
    books.step("run_in_slot_" + std::to_string(slot), half);
  }
  const std::size_t recorded = std::min<std::size_t>(half, 48);
  runs(shim, recorded, 0, 10);
  books.step("recording", recorded);
  gpushim_cost stated{};
  for (std::size_t m = 2; m < models; m++) stated.residual += shim.cost(m).residual;
  line.add("stated_mb", "%.4f", double(stated.residual) / 1e6 / double(models - 2));
  line.add("load_in_random_order_ms", "%.4f", loadsInRandomOrder(shim, models));
  shim.unpin();
  line.print();
}
