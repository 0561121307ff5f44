#include "session.h"

#include <string.h>

#include "allocator.h"

// The functions used here, by their place in the runtime's table (allocator.c
// says why this way).
enum place {
	get_error_message = 2,
	run = 9,
	is_tensor = 50,
	get_tensor_mutable_data = 51,
	get_tensor_element_type = 60,
	get_dimensions_count = 61,
	get_dimensions = 62,
	get_tensor_shape_element_count = 64,
	get_tensor_type_and_shape = 65,
	release_status = 93,
	release_value = 96,
	release_tensor_type_and_shape_info = 99,
};

typedef struct OrtStatus OrtStatus;

// failed is a copy of the text of a status, which it releases; NULL for success.
static char *failed(OrtStatus *status) {
	if (status == NULL)
		return NULL;
	const void *const *api = onnxrt_table();
	char *text = strdup(((const char *(*)(OrtStatus *))api[get_error_message])(status));
	((void (*)(OrtStatus *))api[release_status])(status);
	return text;
}

char *onnxrt_run(void *session, const void *options,
		 const char *const *input_names, const void *const *inputs, size_t input_count,
		 const char *const *output_names, void **outputs, size_t output_count) {
	typedef OrtStatus *(*function)(void *, const void *, const char *const *, const void *const *, size_t,
				       const char *const *, size_t, void **);
	return failed(((function)onnxrt_table()[run])(session, options, input_names, inputs, input_count,
						      output_names, output_count, outputs));
}

// read_info describes the type and shape of a tensor.
static OrtStatus *read_info(const void *info, onnxrt_output *out) {
	const void *const *api = onnxrt_table();
	OrtStatus *status = ((OrtStatus * (*)(const void *, int32_t *)) api[get_tensor_element_type])(info, &out->type);
	if (status == NULL)
		status = ((OrtStatus * (*)(const void *, size_t *)) api[get_tensor_shape_element_count])(info, &out->elements);
	if (status == NULL)
		status = ((OrtStatus * (*)(const void *, size_t *)) api[get_dimensions_count])(info, &out->rank);
	if (status == NULL && out->rank <= onnxrt_max_rank)
		status = ((OrtStatus * (*)(const void *, int64_t *, size_t)) api[get_dimensions])(info, out->dims, out->rank);
	return status;
}

char *onnxrt_read(void *value, onnxrt_output *out) {
	const void *const *api = onnxrt_table();
	int tensor = 0;
	char *error = failed(((OrtStatus * (*)(const void *, int *)) api[is_tensor])(value, &tensor));
	if (error != NULL)
		return error;
	if (!tensor)
		return strdup("the output is no tensor");
	void *info = NULL;
	error = failed(((OrtStatus * (*)(const void *, void **)) api[get_tensor_type_and_shape])(value, &info));
	if (error != NULL)
		return error;
	error = failed(read_info(info, out));
	((void (*)(void *))api[release_tensor_type_and_shape_info])(info);
	if (error != NULL)
		return error;
	if (out->rank > onnxrt_max_rank)
		return strdup("the output has too many dimensions");
	return failed(((OrtStatus * (*)(void *, const void **)) api[get_tensor_mutable_data])(value, &out->data));
}

void onnxrt_release(void *value) { ((void (*)(void *))onnxrt_table()[release_value])(value); }
