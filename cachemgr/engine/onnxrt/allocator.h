// An allocator for ONNX Runtime that refuses what goes over a limit.
#ifndef FAAS_GPU_ONNXRT_ALLOCATOR_H
#define FAAS_GPU_ONNXRT_ALLOCATOR_H

#include <stdint.h>

// onnxrt_limit registers the allocator with the runtime at library, which must
// be loaded and have its environment. Sessions that ask for the environment's
// allocators use it from then on; together they get at most limit bytes. It
// returns NULL, or what went wrong; the text is valid until the next call.
const char *onnxrt_limit(const char *library, int64_t limit);

// onnxrt_unlimit takes the allocator back; no session may be open.
void onnxrt_unlimit(void);

// onnxrt_held is how many bytes are allocated now.
int64_t onnxrt_held(void);

// onnxrt_table is the runtime's C interface, once onnxrt_limit has succeeded.
const void *const *onnxrt_table(void);

#endif
