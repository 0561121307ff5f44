// The CUDA driver, loaded when it is needed.
#pragma once

#include <cuda.h>

#include <atomic>
#include <memory>
#include <shared_mutex>
#include <string>

#include "../driver.h"

namespace gpushim {

// The driver's functions; cuda.h makes some of the names those of later versions.
#define GPUSHIM_CUDA_CALLS(X)                                                                                       \
  X(cuInit) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount) X(cuDeviceGet) X(cuDeviceGetName)             \
  X(cuDeviceGetUuid) X(cuDeviceGetAttribute) X(cuDevicePrimaryCtxRetain) X(cuDevicePrimaryCtxRelease)               \
  X(cuCtxSetCurrent) X(cuCtxSynchronize) X(cuMemGetInfo) X(cuMemAlloc) X(cuMemFree) X(cuMemHostAlloc)               \
  X(cuMemFreeHost) X(cuMemGetAllocationGranularity) X(cuMemAddressReserve) X(cuMemAddressFree) X(cuMemCreate)       \
  X(cuMemRelease) X(cuMemMap) X(cuMemUnmap) X(cuMemSetAccess) X(cuMemcpyHtoDAsync) X(cuMemcpyDtoHAsync)             \
  X(cuMemHostRegister) X(cuMemHostUnregister) X(cuMemsetD8Async) X(cuStreamCreate) X(cuStreamDestroy)               \
  X(cuStreamSynchronize) X(cuEventCreate) X(cuEventDestroy) X(cuEventRecord) X(cuEventQuery)                        \
  X(cuModuleLoadData) X(cuModuleUnload) X(cuModuleGetFunction) X(cuLaunchKernel) X(cuStreamBeginCapture)            \
  X(cuStreamEndCapture) X(cuGraphInstantiate) X(cuGraphLaunch) X(cuGraphDestroy) X(cuGraphExecDestroy)

class CudaLibrary {
 public:
  CudaLibrary();  // throws Failure(unavailable)
#define GPUSHIM_DECLARE(name) decltype(&::name) name = nullptr;
  GPUSHIM_CUDA_CALLS(GPUSHIM_DECLARE)
#undef GPUSHIM_DECLARE

  // "NAME: what it means".
  std::string explain(CUresult result) const;
};

// CudaDriver is one device with its primary context, which TensorRT uses too.
class CudaDriver : public Driver {
 public:
  CudaDriver(const CudaLibrary& cuda, int ordinal);
  ~CudaDriver() override;

  std::string id() const;  // "GPU-" and the UUID, as nvidia-smi writes it
  std::string name() const;
  bool integrated() const { return attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED) != 0; }
  bool remaps() const { return remaps_; }

  Code enter() override;
  std::string lastError() const override;
  std::size_t granularity() const override { return granularity_; }
  Code reserve(Address* base, std::size_t bytes) override;
  Code unreserve(Address base, std::size_t bytes) override;
  Code create(Handle* handle, std::size_t bytes) override;
  Code release(Handle handle) override;
  Code map(Address at, std::size_t bytes, Handle handle) override;
  Code allow(Address at, std::size_t bytes) override;
  Code unmap(Address at, std::size_t bytes) override;
  Code alloc(Address* base, std::size_t bytes) override;
  Code free(Address base) override;
  Code allocHost(void** memory, std::size_t bytes) override;
  Code freeHost(void* memory) override;
  Code pinHost(void* memory, std::size_t bytes) override;
  Code unpinHost(void* memory) override;
  Code createStream(Stream* stream) override;
  Code destroyStream(Stream stream) override;
  Code copyIn(Address to, const void* from, std::size_t bytes, Stream stream) override;
  Code copyOut(void* to, Address from, std::size_t bytes, Stream stream) override;
  bool pulls() const override { return pull_ != nullptr; }
  Code pull(Address to, const void* from, std::size_t bytes, Stream stream) override;
  Code zero(Address at, std::size_t bytes, Stream stream) override;
  Code createEvent(Event* event) override;
  Code destroyEvent(Event event) override;
  Code record(Event event, Stream stream) override;
  Code isDone(Event event, bool* done) override;
  Code waitStream(Stream stream) override;
  Code waitAll() override;
  Code memory(std::size_t* free, std::size_t* total) override;

  // From begin to end, what this thread puts into the stream is not run but
  // recorded; replay runs it, with one call. Nobody may wait for the whole device
  // meanwhile: who records holds recordingLock alone, and who may wait shares it.
  std::shared_mutex& recordingLock() { return recordingLock_; }
  [[nodiscard]] Code beginRecording(Stream stream);
  [[nodiscard]] Code endRecording(Stream stream, CUgraphExec* recording);
  [[nodiscard]] Code replay(CUgraphExec recording, Stream stream);
  void drop(CUgraphExec recording);

 private:
  void loadPull();
  int attribute(CUdevice_attribute a) const;
  Code came(CUresult result);

  const CudaLibrary& cuda_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmemAllocationProp physical_{};
  CUmemAccessDesc access_{};
  bool remaps_ = false;
  std::size_t granularity_ = 0;
  CUmodule module_ = nullptr;
  CUfunction pull_ = nullptr;
  std::atomic<bool> lost_{false};
  std::shared_mutex recordingLock_;
};

}  // namespace gpushim
