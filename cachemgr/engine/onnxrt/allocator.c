#include "allocator.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

// The part of ONNX Runtime's C interface that is used here. The Go binding has
// no way to make the memory info that an allocator needs, so the interface is
// taken from the library once more. It is a table of functions that only grows
// at its end, so a function's place in it never changes.
typedef struct OrtStatus OrtStatus;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtEnv OrtEnv;

typedef struct OrtAllocator {
	uint32_t version; // of the interface: says which members there are
	void *(*alloc)(struct OrtAllocator *, size_t);
	void (*release)(struct OrtAllocator *, void *);
	const OrtMemoryInfo *(*info)(const struct OrtAllocator *);
} OrtAllocator;

typedef struct {
	const void *const *(*table)(uint32_t version);
	const char *(*version)(void);
} OrtApiBase;

enum place {
	get_error_message = 2,
	create_env = 3,
	create_memory_info = 68,
	release_env = 92,
	release_status = 93,
	release_memory_info = 94,
	register_allocator = 176,
	unregister_allocator = 177,
};

enum {
	interface_version = 17, // the first with all of these, and no more members
	log_fatal = 4,
	device_allocator = 0,
	memory_default = 0,
	alignment = 64,
};

static const void *const *api;
static OrtEnv *env;
static OrtMemoryInfo *info;
static int64_t limit;
static _Atomic int64_t held;
static void (*throw_bad_alloc)(void);

// refuse reports that there is no memory as the runtime expects it: by a C++
// exception, which it turns into an error of the call. A null pointer it would
// write to.
static void *refuse(void) {
	throw_bad_alloc();
	return NULL;
}

static void *limited_alloc(OrtAllocator *self, size_t size) {
	(void)self;
	if (size == 0)
		return NULL;
	if (size > (uint64_t)limit || atomic_fetch_add(&held, (int64_t)size) > limit - (int64_t)size) {
		if (size <= (uint64_t)limit)
			atomic_fetch_sub(&held, (int64_t)size);
		return refuse();
	}
	void *p;
	if (posix_memalign(&p, alignment, size) != 0) {
		atomic_fetch_sub(&held, (int64_t)size);
		return refuse();
	}
	// What is given back later is what the block really takes.
	atomic_fetch_add(&held, (int64_t)malloc_usable_size(p) - (int64_t)size);
	return p;
}

static void limited_release(OrtAllocator *self, void *p) {
	(void)self;
	if (p == NULL)
		return;
	atomic_fetch_sub(&held, (int64_t)malloc_usable_size(p));
	free(p);
}

static const OrtMemoryInfo *limited_info(const OrtAllocator *self) {
	(void)self;
	return info;
}

static OrtAllocator limited = {interface_version, limited_alloc, limited_release, limited_info};

// failed is the text of a status, which it releases; NULL for success.
static const char *failed(OrtStatus *status) {
	static char text[256];
	if (status == NULL)
		return NULL;
	snprintf(text, sizeof text, "%s", ((const char *(*)(OrtStatus *))api[get_error_message])(status));
	((void (*)(OrtStatus *))api[release_status])(status);
	return text;
}

static const char *find(const char *library) {
	void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
	if (handle == NULL)
		return "the library is not loaded";
	const OrtApiBase *(*base)(void) = (const OrtApiBase *(*)(void))dlsym(handle, "OrtGetApiBase");
	throw_bad_alloc = (void (*)(void))dlsym(handle, "_ZSt17__throw_bad_allocv");
	dlclose(handle); // the binding's handle keeps the library
	if (base == NULL || throw_bad_alloc == NULL)
		return "the library lacks OrtGetApiBase or a C++ library";
	api = base()->table(interface_version);
	return api == NULL ? "the library is too old" : NULL;
}

const char *onnxrt_limit(const char *library, int64_t bytes) {
	const char *error = find(library);
	if (error != NULL)
		return error;
	limit = bytes;
	// There is one environment: this is another reference to it.
	error = failed(((OrtStatus * (*)(int, const char *, OrtEnv **)) api[create_env])(log_fatal, "limit", &env));
	if (error != NULL)
		return error;
	error = failed(((OrtStatus * (*)(const char *, int, int, int, OrtMemoryInfo **)) api[create_memory_info])(
		"Cpu", device_allocator, 0, memory_default, &info));
	if (error == NULL)
		error = failed(((OrtStatus * (*)(OrtEnv *, OrtAllocator *)) api[register_allocator])(env, &limited));
	if (error != NULL)
		onnxrt_unlimit();
	return error;
}

void onnxrt_unlimit(void) {
	if (info != NULL) {
		failed(((OrtStatus * (*)(OrtEnv *, const OrtMemoryInfo *)) api[unregister_allocator])(env, info));
		((void (*)(OrtMemoryInfo *))api[release_memory_info])(info);
	}
	((void (*)(OrtEnv *))api[release_env])(env);
	info = NULL;
	env = NULL;
}

int64_t onnxrt_held(void) { return atomic_load(&held); }

const void *const *onnxrt_table(void) { return api; }
