// A model on one device.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device.h"

namespace gpushim {

// Placement is a model on one device. It is used by one thread at a time, except
// cost and spec.
//
//   load     the first time: deserialize, and copy the weights to pinned host
//            memory; later: copy them to granules, at the homes of these, and map
//            the granules to the addresses that the program knows meanwhile
//   evict    give the granules back; nothing is copied, and unmapping them waits
//            for the next load, of any model, that has nothing better to do
//
// Where memory cannot be remapped, load deserializes each time and evict drops
// everything but the plan.
class Placement {
 public:
  explicit Placement(Device& device);
  ~Placement();
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  // needsPlan says whether the next load deserializes; only then plan is used.
  bool needsPlan() const { return program_ == nullptr || broken_; }
  void load(const std::string* plan);
  void evict();
  void shapes(const gpushim_tensor* in, gpushim_tensor* out);
  void run(std::uint32_t slot, const gpushim_tensor* in, const gpushim_tensor* out);

  bool loaded() const { return loaded_; }
  // Valid once a load has returned.
  const Spec& spec() const { return spec_; }
  void cost(gpushim_cost* c) const;

 private:
  struct Weight {
    Range* range;
    std::size_t at;  // its place in the image
  };
  void build(const std::string& plan);
  void describe();
  void capture(const Recording& recording);
  void account(const Recording& deserialized, const Recording& prepared);
  std::size_t share(std::size_t* left);
  void swapIn();
  void copyWeights();
  void settle();
  void discard();
  void dropProgram();
  void unmapWeights();
  Code unmapAll();
  void requireLoaded() const;
  void place(const gpushim_tensor* in, const gpushim_tensor* out);
  void enqueue(Slot& slot, const gpushim_tensor* in, const gpushim_tensor* out);
  void sendInput(Slot& slot, const gpushim_tensor& in, std::size_t at, Address to);
  void send(Address to, const char* from, std::size_t bytes, Stream stream);

  Device& device_;
  Driver& driver_;
  OwnedEvent copied_;
  Pinned image_;  // the weights, in host memory
  std::vector<Weight> weights_;
  std::unique_ptr<Program> program_;
  struct Shares {  // bytes that were taken beside the arena
    std::size_t engine = 0, context = 0, run = 0;
    std::size_t all() const { return engine + context + run; }
  } shares_;
  bool loaded_ = false, described_ = false;
  bool broken_ = false;  // a build failed, and its remains could not be dropped yet
  bool dirty_ = false;   // a stream may hold operations on this model's memory

  Spec spec_;
  mutable std::mutex costLock_;
  gpushim_cost cost_{};

  // Of the run that is going on: shapes, and places in the slot's buffers.
  std::vector<Shape> inShapes_, outShapes_;
  std::vector<std::size_t> inAt_, outAt_;
  std::vector<Address> inAddresses_, outAddresses_;
  std::vector<char> outStaged_;  // whether an output takes the way over pinned memory
  std::size_t ioBytes_ = 0;
};

}  // namespace gpushim
