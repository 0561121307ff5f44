// One way to ask every version of TensorRT from 8.2 on. Up to 8.4 inputs and
// outputs are numbered bindings, from 8.5 on they are named.
#pragma once

#include <NvInferRuntime.h>
#include <cuda.h>

#include <string>
#include <vector>

#include "../program.h"

#define GPUSHIM_TRT (NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR)

namespace gpushim {

// IO is one input or output of an engine.
struct IO {
  std::string name;
  int binding = 0;  // before 8.5
  bool input = false, onHost = false, linear = false;
  nvinfer1::DataType type{};
  nvinfer1::Dims shape{};
};

inline std::vector<IO> listIO(const nvinfer1::ICudaEngine& e) {
  std::vector<IO> list;
#if GPUSHIM_TRT >= 805
  for (std::int32_t i = 0; i < e.getNbIOTensors(); i++) {
    IO io;
    io.name = e.getIOTensorName(i);
    const char* name = io.name.c_str();
    io.input = e.getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
    io.onHost = e.getTensorLocation(name) == nvinfer1::TensorLocation::kHOST;
    io.linear = e.getTensorFormat(name) == nvinfer1::TensorFormat::kLINEAR;
    io.type = e.getTensorDataType(name);
    io.shape = e.getTensorShape(name);
    list.push_back(io);
  }
#else
  // Every optimization profile repeats the bindings; the first one is used.
  const std::int32_t profiles = e.getNbOptimizationProfiles() > 0 ? e.getNbOptimizationProfiles() : 1;
  for (std::int32_t i = 0; i < e.getNbBindings() / profiles; i++) {
    IO io;
    io.name = e.getBindingName(i);
    io.binding = i;
    io.input = e.bindingIsInput(i);
    io.onHost = e.getLocation(i) == nvinfer1::TensorLocation::kHOST;
    io.linear = e.getBindingFormat(i) == nvinfer1::TensorFormat::kLINEAR;
    io.type = e.getBindingDataType(i);
    io.shape = e.getBindingDimensions(i);
    list.push_back(io);
  }
#endif
  return list;
}

// What a dynamic input may be, by the first optimization profile.
inline nvinfer1::Dims profileShape(const nvinfer1::ICudaEngine& e, const IO& io, nvinfer1::OptProfileSelector which) {
#if GPUSHIM_TRT >= 805
  return e.getProfileShape(io.name.c_str(), 0, which);
#else
  return e.getProfileDimensions(io.binding, 0, which);
#endif
}

inline std::size_t scratchBytesOf(const nvinfer1::ICudaEngine& e) {
#if GPUSHIM_TRT >= 1001
  return std::size_t(e.getDeviceMemorySizeV2());
#else
  return e.getDeviceMemorySize();
#endif
}

inline nvinfer1::IExecutionContext* newContext(nvinfer1::ICudaEngine& e) {
#if GPUSHIM_TRT >= 1000
  return e.createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
#else
  return e.createExecutionContextWithoutDeviceMemory();
#endif
}

inline void setScratch(nvinfer1::IExecutionContext& c, Address at, std::size_t bytes) {
#if GPUSHIM_TRT >= 1001
  c.setDeviceMemoryV2(reinterpret_cast<void*>(at), std::int64_t(bytes));
#else
  (void)bytes;
  c.setDeviceMemory(reinterpret_cast<void*>(at));
#endif
}

inline bool setInputShape(nvinfer1::IExecutionContext& c, const IO& io, const nvinfer1::Dims& d) {
#if GPUSHIM_TRT >= 805
  return c.setInputShape(io.name.c_str(), d);
#else
  return c.setBindingDimensions(io.binding, d);
#endif
}

inline nvinfer1::Dims shapeInContext(const nvinfer1::IExecutionContext& c, const IO& io) {
#if GPUSHIM_TRT >= 805
  return c.getTensorShape(io.name.c_str());
#else
  return c.getBindingDimensions(io.binding);
#endif
}

// at holds an address for each io.
inline bool enqueueRun(nvinfer1::IExecutionContext& c, const std::vector<IO>& ios, std::vector<void*>& at,
                       std::vector<void*>& set, CUstream stream) {
#if GPUSHIM_TRT >= 805
  for (std::size_t i = 0; i < ios.size(); i++) {
    if (set[i] == at[i]) continue;
    if (!c.setTensorAddress(ios[i].name.c_str(), at[i])) return false;
    set[i] = at[i];
  }
  return c.enqueueV3(stream);
#else
  (void)ios;
  (void)set;
  return c.enqueueV2(at.data(), stream, nullptr);
#endif
}

}  // namespace gpushim
