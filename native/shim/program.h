// What runs models, as an interface: TensorRT behind it, or the double in double/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "driver.h"

namespace gpushim {

struct Shape {
  std::uint32_t rank = 0;
  std::int64_t dims[GPUSHIM_MAX_RANK] = {};
};

// Bytes of one element, 0 for what is no gpushim_type.
std::size_t elementBytes(int type);
// Bytes of a dense tensor; throws where a dimension is negative or the product
// too large.
std::size_t tensorBytes(int type, const Shape& shape);

struct TensorInfo {
  std::string name;
  int type = 0;  // gpushim_type
  Shape shape;   // -1: dynamic
};

struct Spec {
  std::vector<TensorInfo> inputs, outputs;
  std::int64_t maxBatch = 0;    // largest first dimension; 0: not dynamic
  std::vector<Shape> largest;   // of the inputs
  std::size_t inputBytes = 0;   // the most that all inputs take together
  std::size_t outputBytes = 0;  // likewise, where that is known before a run
};

// Memory is where a program gets its device memory.
class Memory {
 public:
  virtual ~Memory() = default;
  virtual Address allocate(std::size_t bytes, std::size_t alignment) = 0;  // throws Failure
  virtual bool deallocate(Address at) noexcept = 0;
};

// Program is a deserialized model. One call at a time.
class Program {
 public:
  virtual ~Program() = default;

  // Makes what is needed to run, beside the weights. What it allocates stays
  // mapped while the weights are gone.
  virtual void prepare() = 0;
  virtual const Spec& spec() const = 0;
  // Device memory that a run needs for itself; it holds nothing between runs.
  virtual std::size_t scratchBytes() const = 0;

  // Takes the shapes of the inputs of the next run and gives those of its
  // outputs. Throws badInput for shapes that the model was not built for.
  virtual void shapes(const Shape* inputs, Shape* outputs) = 0;
  // Puts a run into the stream.
  virtual void enqueue(const Address* inputs, const Address* outputs, Address scratch, Stream stream) = 0;
  // The weights go away: gives back what only makes runs faster, where others may
  // want it. None is going on.
  virtual void rest() noexcept = 0;
};

// Loader deserializes for one device.
class Loader {
 public:
  virtual ~Loader() = default;
  // plan may go afterwards. All that it allocates and keeps is weights, which
  // nothing writes to after it returns. Throws badModel or noMemory.
  virtual std::unique_ptr<Program> load(const void* plan, std::size_t bytes) = 0;
};

struct DeviceInfo {
  std::string id, name;
  bool unified = false;               // host and device share memory
  std::vector<std::size_t> granules;  // sizes, descending; empty: no virtual memory management
  std::size_t small = 1 << 20;        // allocations below it are not worth granules of their own
};

// Backend is what the engine stands on.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::size_t devices() const = 0;
  virtual Driver& driver(std::size_t device) = 0;
  virtual DeviceInfo info(std::size_t device) = 0;
  virtual std::unique_ptr<Loader> loader(std::size_t device, Memory& memory) = 0;
};

// Defined once in each library: for TensorRT, and for the double.
std::unique_ptr<Backend> makeBackend(const std::string& settings);
const char* describeBackend();

// The value of a key in "key=value;key=value"; empty where it is not there.
std::string setting(const std::string& settings, const std::string& key);

}  // namespace gpushim
