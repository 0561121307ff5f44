// Running a session of ONNX Runtime whose outputs the runtime allocates.
#ifndef FAAS_GPU_ONNXRT_SESSION_H
#define FAAS_GPU_ONNXRT_SESSION_H

#include <stddef.h>
#include <stdint.h>

// The most dimensions of an output that is read.
enum { onnxrt_max_rank = 32 };

// onnxrt_output is what a value holds. The value keeps data.
typedef struct {
	const void *data;
	int32_t type; // of the elements
	size_t elements;
	size_t rank;
	int64_t dims[onnxrt_max_rank];
} onnxrt_output;

// onnxrt_run runs a session; outputs that are NULL are allocated by the runtime,
// and have to be released. It returns NULL, or what went wrong, which the caller
// frees; then nothing was allocated.
char *onnxrt_run(void *session, const void *options,
		 const char *const *input_names, const void *const *inputs, size_t input_count,
		 const char *const *output_names, void **outputs, size_t output_count);

// onnxrt_read describes a value. It returns as onnxrt_run does.
char *onnxrt_read(void *value, onnxrt_output *out);

void onnxrt_release(void *value);

#endif
