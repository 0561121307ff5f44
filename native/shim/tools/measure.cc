// measure compares the shim with what bounds it, on a GPU:
//
//	measure LIBGPUSHIM MODEL.plan MODELS NAME [LOADERS]
//
// It opens the plan MODELS times (each with weights of its own in memory) and
// prints one line of JSON. Every output is compared with the first one, bit by
// bit. LOADERS threads load ahead where every request is a miss; 2 if not given.
#include "measure_plain.h"

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

namespace {

using namespace gpushim;

// Check counts swaps, and outputs that are not the first one.
struct Check {
  std::string want;
  int swaps = 0, wrong = 0;
  void operator()(const std::string& got) { wrong += got != want; }
};

// firstLoads loads, runs and evicts each model for the first time.
void firstLoads(Shim& shim, std::size_t models, Check* check, Line* line) {
  std::vector<double> first;
  std::size_t before = 0;
  gpushim_cost all{};
  for (std::size_t i = 0; i < models; i++) {
    const auto t = Clock::now();
    shim.load(i);
    first.push_back(msSince(t));
    check->swaps++;
    if (i == 0) {
      shim.prepare();
      check->want = shim.run(i);
    }
    (*check)(shim.run(i));
    shim.evict(i);
    if (i == 0) before = shim.freeBytes();  // its load also made what all share
    if (i == 0) continue;
    const gpushim_cost c = shim.cost(i);
    all.residual += c.residual;
    all.residual_small += c.residual_small;
    all.residual_engine += c.residual_engine;
    all.residual_context += c.residual_context;
    all.residual_run += c.residual_run;
  }
  const double each = 1e6 * double(models - 1);
  const gpushim_cost cost = shim.cost(1);
  line->add("models", "%.0f", double(models));
  line->add("weights_bytes", "%.0f", double(cost.resident - cost.residual));
  line->add("residual_mb_per_model", "%.3f", (double(before) - double(shim.freeBytes())) / each);
  line->add("residual_stated_mb", "%.3f", double(all.residual) / each);
  line->add("residual_small_mb", "%.3f", double(all.residual_small) / each);
  line->add("residual_engine_mb", "%.3f", double(all.residual_engine) / each);
  line->add("residual_context_mb", "%.3f", double(all.residual_context) / each);
  line->add("residual_run_mb", "%.3f", double(all.residual_run) / each);
  line->add("first_load_ms", "%.2f", first[0]);
  line->add("later_first_load_ms", "%.2f", median(std::vector<double>(first.begin() + 1, first.end())));
}

struct Misses {
  double load, miss, evict;
};

Misses misses(Shim& shim, std::size_t models, Check* check) {
  std::vector<double> loads, all, evicts;
  for (int i = 0; i < 400; i++) {
    const std::size_t m = std::size_t(i) % models;
    const auto t = Clock::now();
    shim.load(m);
    loads.push_back(msSince(t));
    (*check)(shim.run(m));
    all.push_back(msSince(t));
    const auto e = Clock::now();
    shim.evict(m);
    evicts.push_back(msSince(e));
    check->swaps++;
  }
  return {median(loads), median(all), median(evicts)};
}

double hits(Shim& shim, std::size_t model, bool pinned, Check* check) {
  std::vector<double> ms;
  for (int i = 0; i < 700; i++) {
    const auto t = Clock::now();
    const std::string out = shim.run(model, pinned);
    if (i >= 100) ms.push_back(msSince(t));
    (*check)(out);
  }
  return median(ms);
}

// hitsBesideLoads runs a model that stays while others come and go all the time.
double hitsBesideLoads(Shim& shim, std::size_t models, Check* check) {
  std::atomic<bool> stop{false};
  std::atomic<int> swaps{0};
  std::vector<std::thread> others;
  for (std::size_t first : {1, 2}) {
    others.emplace_back([&, first] {
      for (std::size_t i = first; !stop; i = i + 2 < models ? i + 2 : first) {
        shim.load(i);
        shim.evict(i);
        swaps++;
      }
    });
  }
  while (swaps < 4) std::this_thread::yield();
  const double ms = hits(shim, 0, true, check);
  stop = true;
  for (auto& t : others) t.join();
  check->swaps += swaps;
  return ms;
}

// allMisses runs the models in turn, and evicts each at once; loaders are threads
// that load what comes next, each one model, beside the one that runs.
double allMisses(Shim& shim, std::size_t models, int loaders, int requests, Check* check) {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<bool> ready(std::size_t(requests), false);
  int next = 0, done = 0;
  auto loader = [&] {
    for (;;) {
      int i;
      {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return next == requests || next - done < loaders + 1; });
        if (next == requests) return;
        i = next++;
      }
      shim.load(std::size_t(i) % models);
      std::lock_guard<std::mutex> lock(mutex);
      ready[std::size_t(i)] = true;
      changed.notify_all();
    }
  };
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int i = 0; i < loaders; i++) threads.emplace_back(loader);
  for (int i = 0; i < requests; i++) {
    {
      std::unique_lock<std::mutex> lock(mutex);
      changed.wait(lock, [&] { return bool(ready[std::size_t(i)]); });
    }
    (*check)(shim.run(std::size_t(i) % models));
    shim.evict(std::size_t(i) % models);
    check->swaps++;
    std::lock_guard<std::mutex> lock(mutex);
    done = i + 1;
    changed.notify_all();
  }
  for (auto& t : threads) t.join();
  return msSince(start) / requests;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) die("usage: measure LIBGPUSHIM MODEL.plan MODELS NAME [LOADERS]");
  const std::size_t models = std::size_t(std::max(4, std::atoi(argv[3])));
  std::ifstream file(argv[2], std::ios::binary);
  const std::string plan((std::istreambuf_iterator<char>(file)), {});
  const int loaders = argc > 5 ? std::max(1, std::atoi(argv[5])) : 2;
  CudaLibrary cuda;
  CudaDriver driver(cuda, 0);
  check(driver, driver.enter(), "use the device");

  Check outputs;
  Line line;
  line.name(argv[4]);
  Shim shim(argv[1], std::vector<std::string>(models, argv[2]));
  firstLoads(shim, models, &outputs, &line);

  const double image = double(shim.cost(1).host - (64 << 10));  // Model adds that for its lists
  const double wire = ceiling(driver, std::size_t(image));
  double native = 0, graph = 0;
  {
    Plain plain(driver, plan, shim.inputBytes(), shim.outputBytes());
    native = plain.ms(false);
    graph = plain.ms(true);
  }
  const std::size_t freeBefore = shim.freeBytes();
  const Misses miss = misses(shim, models, &outputs);
  shim.load(0);
  const double hit = hits(shim, 0, true, &outputs), unpinned = hits(shim, 0, false, &outputs);
  const double beside = hitsBesideLoads(shim, models, &outputs);
  shim.evict(0);
  const double all = allMisses(shim, models, loaders, 1000, &outputs);
  const double drift = (double(freeBefore) - double(shim.freeBytes())) / 1e6;
  shim.unpin();

  line.add("image_bytes", "%.0f", image);
  line.add("ceiling_ms", "%.4f", wire);
  line.add("ceiling_gb_s", "%.2f", image / wire / 1e6);
  line.add("load_ms", "%.4f", miss.load);
  line.add("h2d_fraction", "%.4f", wire / miss.load);
  line.add("evict_ms", "%.4f", miss.evict);
  line.add("native_ms", "%.4f", native);
  line.add("native_graph_ms", "%.4f", graph);
  line.add("hit_ms", "%.4f", hit);
  line.add("hit_unpinned_ms", "%.4f", unpinned);
  line.add("hit_beside_loads_ms", "%.4f", beside);
  line.add("hit_over_native", "%.4f", hit / native);
  line.add("hit_over_native_graph", "%.4f", hit / graph);
  line.add("hit_unpinned_over_native", "%.4f", unpinned / native);
  line.add("miss_ms", "%.4f", miss.miss);
  line.add("miss_over_bound", "%.4f", miss.miss / (wire + hit));
  line.add("loaders", "%.0f", loaders);
  line.add("all_miss_ms", "%.4f", all);
  line.add("all_miss_over_bound", "%.4f", all / std::max(wire, hit));
  line.add("swaps", "%.0f", outputs.swaps);
  line.add("wrong_outputs", "%.0f", outputs.wrong);
  line.add("driver_drift_mb", "%.3f", drift);
  line.print();
  return outputs.wrong == 0 ? 0 : 1;
}
