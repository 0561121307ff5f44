#include "driver.h"

#include <dlfcn.h>

#include <cstdio>

#include "pull.h"

namespace gpushim {

namespace {

// What the last call of this thread that failed came to.
thread_local std::string lastErrorText;

// After these the context answers every call with an error.
bool isSticky(CUresult r) {
  switch (int(r)) {
    case 4:    // the driver is shutting down
    case 214:  // an error of the memory that cannot be corrected
    case 220:  // an error of NVLink
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // the context is destroyed
    case 710:  // assertion
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failed
    case 999:  // unknown
      return true;
  }
  return false;
}

template <typename F>
void find(void* library, const char* name, F* function) {
  *function = reinterpret_cast<F>(dlsym(library, name));
  if (*function == nullptr) {
    throw Failure(Code::unavailable, std::string("the CUDA driver (libcuda.so.1) is too old: it has no ") + name);
  }
}

}  // namespace

CudaLibrary::CudaLibrary() {
  // It stays loaded: the driver does not survive being unloaded.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) throw Failure(Code::unavailable, std::string("there is no CUDA driver: ") + dlerror());
#define GPUSHIM_TEXT(name) #name
#define GPUSHIM_FIND(name) find(library, GPUSHIM_TEXT(name), &name);
  GPUSHIM_CUDA_CALLS(GPUSHIM_FIND)
#undef GPUSHIM_FIND
#undef GPUSHIM_TEXT
  if (CUresult r = cuInit(0); r != CUDA_SUCCESS) {
    throw Failure(Code::unavailable, "the CUDA driver does not start: " + explain(r));
  }
}

std::string CudaLibrary::explain(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(result, &name);
  cuGetErrorString(result, &text);
  return std::string(name != nullptr ? name : "unknown error") + ": " + (text != nullptr ? text : "");
}

CudaDriver::CudaDriver(const CudaLibrary& cuda, int ordinal) : cuda_(cuda) {
  check(*this, came(cuda_.cuDeviceGet(&device_, ordinal)), "find the device");
  physical_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  physical_.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  physical_.location.id = ordinal;
  access_.location = physical_.location;
  access_.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  // The attribute's name changed with CUDA 11; its number did not.
  remaps_ = attribute(static_cast<CUdevice_attribute>(102)) != 0;
  check(*this, came(cuda_.cuDevicePrimaryCtxRetain(&context_, device_)), "make a context");
  if (enter() == Code::ok) loadPull();
  if (!remaps_) return;
  Code code = came(cuda_.cuMemGetAllocationGranularity(&granularity_, &physical_, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  if (code != Code::ok) (void)cuda_.cuDevicePrimaryCtxRelease(device_);
  check(*this, code, "ask for the granularity of device memory");
}

CudaDriver::~CudaDriver() {
  if (module_ != nullptr && enter() == Code::ok) (void)cuda_.cuModuleUnload(module_);
  (void)cuda_.cuDevicePrimaryCtxRelease(device_);
}

int CudaDriver::attribute(CUdevice_attribute a) const {
  int value = 0;
  (void)cuda_.cuDeviceGetAttribute(&value, a, device_);
  return value;
}

std::string CudaDriver::id() const {
  CUuuid uuid{};
  (void)cuda_.cuDeviceGetUuid(&uuid, device_);
  std::string text = "GPU-";
  for (int i = 0; i < 16; i++) {
    char hex[3];
    std::snprintf(hex, sizeof hex, "%02x", static_cast<unsigned char>(uuid.bytes[i]));
    text += hex;
    if (i == 3 || i == 5 || i == 7 || i == 9) text += '-';
  }
  return text;
}

std::string CudaDriver::name() const {
  char text[128] = {};
  (void)cuda_.cuDeviceGetName(text, sizeof text - 1, device_);
  return text;
}

// came makes a code of a result.
Code CudaDriver::came(CUresult result) {
  if (result == CUDA_SUCCESS) return Code::ok;
  lastErrorText = cuda_.explain(result);
  if (isSticky(result)) lost_ = true;
  if (lost_) return Code::lost;
  return result == CUDA_ERROR_OUT_OF_MEMORY ? Code::noMemory : Code::failed;
}

std::string CudaDriver::lastError() const { return lastErrorText; }

Code CudaDriver::enter() {
  if (lost_) {
    lastErrorText = "the device is lost since an error before";
    return Code::lost;
  }
  return came(cuda_.cuCtxSetCurrent(context_));
}

Code CudaDriver::reserve(Address* base, std::size_t bytes) {
  CUdeviceptr at = 0;
  const Code code = came(cuda_.cuMemAddressReserve(&at, bytes, 0, 0, 0));
  *base = at;
  return code;
}

Code CudaDriver::unreserve(Address base, std::size_t bytes) { return came(cuda_.cuMemAddressFree(base, bytes)); }

Code CudaDriver::create(Handle* handle, std::size_t bytes) {
  CUmemGenericAllocationHandle h = 0;
  const Code code = came(cuda_.cuMemCreate(&h, bytes, &physical_, 0));
  *handle = h;
  return code;
}

Code CudaDriver::release(Handle handle) { return came(cuda_.cuMemRelease(handle)); }

Code CudaDriver::map(Address at, std::size_t bytes, Handle handle) {
  return came(cuda_.cuMemMap(at, bytes, 0, handle, 0));
}

Code CudaDriver::allow(Address at, std::size_t bytes) { return came(cuda_.cuMemSetAccess(at, bytes, &access_, 1)); }

Code CudaDriver::unmap(Address at, std::size_t bytes) { return came(cuda_.cuMemUnmap(at, bytes)); }

Code CudaDriver::alloc(Address* base, std::size_t bytes) {
  CUdeviceptr at = 0;
  const Code code = came(cuda_.cuMemAlloc(&at, bytes));
  *base = at;
  return code;
}

Code CudaDriver::free(Address base) { return came(cuda_.cuMemFree(base)); }

Code CudaDriver::allocHost(void** memory, std::size_t bytes) {
  return came(cuda_.cuMemHostAlloc(memory, bytes, CU_MEMHOSTALLOC_PORTABLE));
}

Code CudaDriver::freeHost(void* memory) { return came(cuda_.cuMemFreeHost(memory)); }

Code CudaDriver::pinHost(void* memory, std::size_t bytes) {
  return came(cuda_.cuMemHostRegister(memory, bytes, CU_MEMHOSTREGISTER_PORTABLE));
}

Code CudaDriver::unpinHost(void* memory) { return came(cuda_.cuMemHostUnregister(memory)); }

// Streams do not wait for the default stream: nobody here uses it.
Code CudaDriver::createStream(Stream* stream) {
  CUstream s = nullptr;
  const Code code = came(cuda_.cuStreamCreate(&s, CU_STREAM_NON_BLOCKING));
  *stream = s;
  return code;
}

Code CudaDriver::destroyStream(Stream stream) { return came(cuda_.cuStreamDestroy(static_cast<CUstream>(stream))); }

Code CudaDriver::copyIn(Address to, const void* from, std::size_t bytes, Stream stream) {
  return came(cuda_.cuMemcpyHtoDAsync(to, from, bytes, static_cast<CUstream>(stream)));
}

Code CudaDriver::copyOut(void* to, Address from, std::size_t bytes, Stream stream) {
  return came(cuda_.cuMemcpyDtoHAsync(to, from, bytes, static_cast<CUstream>(stream)));
}

// loadPull does without the kernel where it does not load, and where the device
// does not use the host's addresses for host memory.
void CudaDriver::loadPull() {
  if (attribute(CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING) == 0) return;
  if (attribute(CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM) == 0) return;
  if (cuda_.cuModuleLoadData(&module_, kPullCode) != CUDA_SUCCESS) {
    module_ = nullptr;
    return;
  }
  if (cuda_.cuModuleGetFunction(&pull_, module_, "copy") != CUDA_SUCCESS) pull_ = nullptr;
}

Code CudaDriver::pull(Address to, const void* from, std::size_t bytes, Stream stream) {
  std::uint64_t size = bytes;
  void* parameters[] = {&to, &from, &size};
  return came(cuda_.cuLaunchKernel(pull_, kPullBlocks, 1, 1, kPullThreads, 1, 1, 0, static_cast<CUstream>(stream),
                                   parameters, nullptr));
}

Code CudaDriver::zero(Address at, std::size_t bytes, Stream stream) {
  return came(cuda_.cuMemsetD8Async(at, 0, bytes, static_cast<CUstream>(stream)));
}

Code CudaDriver::createEvent(Event* event) {
  CUevent e = nullptr;
  const Code code = came(cuda_.cuEventCreate(&e, CU_EVENT_DISABLE_TIMING));
  *event = e;
  return code;
}

Code CudaDriver::destroyEvent(Event event) { return came(cuda_.cuEventDestroy(static_cast<CUevent>(event))); }

Code CudaDriver::record(Event event, Stream stream) {
  return came(cuda_.cuEventRecord(static_cast<CUevent>(event), static_cast<CUstream>(stream)));
}

Code CudaDriver::isDone(Event event, bool* done) {
  const CUresult result = cuda_.cuEventQuery(static_cast<CUevent>(event));
  *done = result == CUDA_SUCCESS;
  return result == CUDA_ERROR_NOT_READY ? Code::ok : came(result);
}

Code CudaDriver::waitStream(Stream stream) { return came(cuda_.cuStreamSynchronize(static_cast<CUstream>(stream))); }

Code CudaDriver::waitAll() {
  std::shared_lock<std::shared_mutex> lock(recordingLock_);
  return came(cuda_.cuCtxSynchronize());
}

Code CudaDriver::beginRecording(Stream stream) {
  return came(cuda_.cuStreamBeginCapture(static_cast<CUstream>(stream), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
}

Code CudaDriver::endRecording(Stream stream, CUgraphExec* recording) {
  CUgraph graph = nullptr;
  if (Code code = came(cuda_.cuStreamEndCapture(static_cast<CUstream>(stream), &graph)); code != Code::ok) return code;
#if CUDA_VERSION >= 12000
  const Code code = came(cuda_.cuGraphInstantiate(recording, graph, 0));
#else
  const Code code = came(cuda_.cuGraphInstantiate(recording, graph, nullptr, nullptr, 0));
#endif
  (void)cuda_.cuGraphDestroy(graph);
  return code;
}

Code CudaDriver::replay(CUgraphExec recording, Stream stream) {
  return came(cuda_.cuGraphLaunch(recording, static_cast<CUstream>(stream)));
}

void CudaDriver::drop(CUgraphExec recording) { (void)came(cuda_.cuGraphExecDestroy(recording)); }

Code CudaDriver::memory(std::size_t* free, std::size_t* total) { return came(cuda_.cuMemGetInfo(free, total)); }

}  // namespace gpushim
