/* The border between Go and the C++ of this folder: one table of C functions.
 *
 * libgpushim.so is loaded with dlopen, so that every Go binary builds and runs
 * where there is neither CUDA nor TensorRT. Nothing that belongs to C++, CUDA or
 * TensorRT crosses this header: handles are opaque, and a function that can fail
 * returns a code and writes a message.
 *
 * Threads: all functions may be called from any thread and at the same time,
 * except as their comments say.
 */
#ifndef GPUSHIM_H
#define GPUSHIM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define GPUSHIM_VERSION 5
#define GPUSHIM_MAX_RANK 8

enum gpushim_code {
  GPUSHIM_OK = 0,
  GPUSHIM_NO_MEMORY = 1,   /* of the device or of the pinned host pool */
  GPUSHIM_DEVICE_LOST = 2, /* for good: everything on the device is gone */
  GPUSHIM_BAD_MODEL = 3,
  GPUSHIM_BAD_INPUT = 4,
  GPUSHIM_UNAVAILABLE = 5, /* a library or driver is missing; the message says which */
  GPUSHIM_FAILED = 6       /* anything else */
};

/* Datatypes of tensors; a plan with any other is a bad model. */
enum gpushim_type {
  GPUSHIM_BOOL = 1,
  GPUSHIM_UINT8 = 2,
  GPUSHIM_INT8 = 3,
  GPUSHIM_INT32 = 4,
  GPUSHIM_INT64 = 5,
  GPUSHIM_FP16 = 6,
  GPUSHIM_BF16 = 7,
  GPUSHIM_FP32 = 8
};

/* Why a function failed: text for people, ends with a zero byte. */
typedef struct {
  char message[512];
} gpushim_error;

typedef struct gpushim_engine gpushim_engine;
typedef struct gpushim_model gpushim_model;

typedef struct {
  uint64_t device_bytes; /* most that the engine takes on each device; 0: no limit but the device's */
  uint64_t host_bytes;   /* most pinned host memory, all models together, buffers of runs aside; 0: no limit */
  uint32_t slots;        /* runs at once on each device, at least 1 */
  uint32_t transfers;    /* models whose copies are in a device's stream at once; 0: 2 */
  uint32_t no_remap;     /* 1: behave as on a device without virtual memory management */
  const char *settings;  /* "key=value;key=value" for what is behind the table; may be NULL */
} gpushim_config;

typedef struct {
  char id[64];
  char name[128];
  uint64_t total_bytes;
  uint64_t free_bytes;     /* what the driver would still give, and what the engine keeps for reuse */
  uint64_t overhead_bytes; /* for all models together: scratch, buffers, spare parts of slabs, what the driver
                              took and is no model's, and a part of the budget that is only kept for reuse */
  uint64_t taken_bytes;    /* what the engine holds on the device and uses */
  uint64_t outside_bytes;  /* of these, what the driver took for code, contexts and the like */
  uint64_t kept_bytes;     /* what it keeps for reuse beyond that part */
  uint64_t host_bytes;     /* pinned host memory in use: models of all devices, buffers of this one */
  uint32_t unified;        /* 1: host and device share memory */
  uint32_t remaps;         /* 1: evicted models stay deserialized */
} gpushim_device;

typedef struct {
  char name[256];
  int32_t type; /* gpushim_type */
  uint32_t rank;
  int64_t shape[GPUSHIM_MAX_RANK]; /* -1: dynamic */
} gpushim_tensor_spec;

typedef struct {
  uint32_t inputs;
  uint32_t outputs;
  int64_t max_batch; /* largest first dimension; 0: not dynamic */
} gpushim_spec;

/* Bytes; see engine.Cost in Go. */
typedef struct {
  uint64_t peak;
  uint64_t resident;
  uint64_t residual;
  uint64_t host;
  uint32_t measured; /* 0: a guess from the size of the file */
  /* Parts of residual: small blocks of the plan, and what the driver took while it
   * was deserialized, while it got its context, and in its first run. The driver
   * takes 2 MiB at a time or so: the last three are right for many models
   * together. */
  uint64_t residual_small;
  uint64_t residual_engine;
  uint64_t residual_context;
  uint64_t residual_run;
} gpushim_cost;

/* One input or output of a run. */
typedef struct {
  void *data; /* NULL for an output that is not wanted */
  uint64_t bytes;
  uint32_t rank;
  int64_t shape[GPUSHIM_MAX_RANK];
} gpushim_tensor;

typedef struct {
  uint32_t version;      /* GPUSHIM_VERSION */
  const char *describes; /* what the library was built for, e.g. "TensorRT 8.5" */

  /* UNAVAILABLE where the driver or the inference library cannot be loaded. */
  int (*open_engine)(const gpushim_config *, gpushim_engine **, gpushim_error *);
  /* No model may be open. */
  void (*close_engine)(gpushim_engine *);
  uint32_t (*device_count)(gpushim_engine *);
  int (*device)(gpushim_engine *, uint32_t device, gpushim_device *, gpushim_error *);

  /* path: a plan, which does not change while the model is open. */
  int (*open_model)(gpushim_engine *, const char *path, gpushim_model **, gpushim_error *);
  /* The model may not be loaded on any device. It is gone afterwards, whatever
   * is returned. */
  int (*close_model)(gpushim_model *, gpushim_error *);
  /* FAILED until the model was loaded for the first time. */
  int (*spec)(gpushim_model *, gpushim_spec *, gpushim_error *);
  int (*tensor)(gpushim_model *, uint32_t index, gpushim_tensor_spec *, gpushim_error *); /* inputs, then outputs */
  void (*cost)(gpushim_model *, uint32_t device, gpushim_cost *);

  /* Returns when the model can run. A failed load leaves nothing behind. */
  int (*load)(gpushim_model *, uint32_t device, gpushim_error *);
  /* Returns when the model's bytes are free. No run of it may be going on. After
   * a failure the model cannot run, and evict may be called again. */
  int (*evict)(gpushim_model *, uint32_t device, gpushim_error *);

  /* Writes the shapes that outputs have for inputs of these shapes. One run or
   * shapes call at a time for a model on a device. */
  int (*shapes)(gpushim_model *, uint32_t device, const gpushim_tensor *in, gpushim_tensor *out, gpushim_error *);
  /* Computes: all inputs, and the outputs that have data. slot is below the
   * configured number and not used by another run on that device. */
  int (*run)(gpushim_model *, uint32_t device, uint32_t slot, const gpushim_tensor *in, const gpushim_tensor *out,
             gpushim_error *);

  /* Pins host memory: tensors of a run that lie in it as a whole are copied
   * straight from and to it, others take the way over memory of the engine. What
   * is pinned may not overlap, and stays mapped until unpin has returned, which
   * is called when no run uses it. NO_MEMORY: the system does not pin as much. */
  int (*pin)(gpushim_engine *, void *memory, uint64_t bytes, gpushim_error *);
  int (*unpin)(gpushim_engine *, void *memory, gpushim_error *); /* memory: as it was pinned */

  /* Leaves bytes of the device's budget to others, from now on: memory that is kept
   * for reuse goes back to the driver. -bytes ends it. */
  int (*lend)(gpushim_engine *, uint32_t device, int64_t bytes, gpushim_error *);
  /* Changes what the engine takes of a device at most, device_bytes of the
   * configuration, from now on: what is kept for reuse beyond that goes back to the
   * driver, what is in use stays. */
  int (*limit)(gpushim_engine *, uint32_t device, uint64_t bytes, gpushim_error *);
} gpushim_table;

/* The one symbol of the library. NULL where it does not have that version. */
const gpushim_table *gpushim_get(uint32_t version);

#ifdef __cplusplus
}
#endif

#endif
