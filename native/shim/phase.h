// Phases that a profiler shows: "queue", "swap" and "compute" in the timeline of
// Nsight Systems. Without NVTX's header where this is built, or without a profiler
// where it runs, they do nothing.
#pragma once

#ifdef GPUSHIM_NVTX
#include <nvtx3/nvToolsExt.h>
#endif

namespace gpushim {

// Phase is a stretch of the calling thread's time, until it goes.
class Phase {
 public:
#ifdef GPUSHIM_NVTX
  explicit Phase(const char* name) { nvtxRangePushA(name); }
  ~Phase() { nvtxRangePop(); }
#else
  explicit Phase(const char*) {}
  ~Phase() {}
#endif
  Phase(const Phase&) = delete;
  Phase& operator=(const Phase&) = delete;
};

}  // namespace gpushim
