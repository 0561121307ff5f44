/* What Go needs to call through the table: it cannot call pointers to functions. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/gpushim.h"

/* The go command does not see changes in folders below this one: the version that
 * changes with the table is named here, where it does. */
_Static_assert(GPUSHIM_VERSION == 5, "name the table's version in trampolines.h");

/* Loads the library and returns its table, or NULL with a message. */
static const gpushim_table *shim_load(const char *path, gpushim_error *e) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    snprintf(e->message, sizeof e->message, "%s", dlerror());
    return NULL;
  }
  const gpushim_table *(*get)(uint32_t) = (const gpushim_table *(*)(uint32_t))dlsym(library, "gpushim_get");
  const gpushim_table *table = get == NULL ? NULL : get(GPUSHIM_VERSION);
  if (table == NULL) {
    snprintf(e->message, sizeof e->message,
             get == NULL ? "it is not libgpushim.so" : "it has not version %d of the table", GPUSHIM_VERSION);
    dlclose(library);
  }
  return table;
}

static int shim_open_engine(const gpushim_table *t, const gpushim_config *c, gpushim_engine **out, gpushim_error *e) {
  return t->open_engine(c, out, e);
}
static void shim_close_engine(const gpushim_table *t, gpushim_engine *h) { t->close_engine(h); }
static uint32_t shim_device_count(const gpushim_table *t, gpushim_engine *h) { return t->device_count(h); }
static int shim_device(const gpushim_table *t, gpushim_engine *h, uint32_t i, gpushim_device *out, gpushim_error *e) {
  return t->device(h, i, out, e);
}
static int shim_open_model(const gpushim_table *t, gpushim_engine *h, const char *path, gpushim_model **out,
                           gpushim_error *e) {
  return t->open_model(h, path, out, e);
}
static int shim_close_model(const gpushim_table *t, gpushim_model *m, gpushim_error *e) { return t->close_model(m, e); }
static int shim_spec(const gpushim_table *t, gpushim_model *m, gpushim_spec *out, gpushim_error *e) {
  return t->spec(m, out, e);
}
static int shim_tensor(const gpushim_table *t, gpushim_model *m, uint32_t i, gpushim_tensor_spec *out,
                       gpushim_error *e) {
  return t->tensor(m, i, out, e);
}
static void shim_cost(const gpushim_table *t, gpushim_model *m, uint32_t d, gpushim_cost *out) { t->cost(m, d, out); }
static int shim_model_load(const gpushim_table *t, gpushim_model *m, uint32_t d, gpushim_error *e) {
  return t->load(m, d, e);
}
static int shim_evict(const gpushim_table *t, gpushim_model *m, uint32_t d, gpushim_error *e) {
  return t->evict(m, d, e);
}
static int shim_shapes(const gpushim_table *t, gpushim_model *m, uint32_t d, const gpushim_tensor *in,
                       gpushim_tensor *out, gpushim_error *e) {
  return t->shapes(m, d, in, out, e);
}
static int shim_run(const gpushim_table *t, gpushim_model *m, uint32_t d, uint32_t slot, const gpushim_tensor *in,
                    const gpushim_tensor *out, gpushim_error *e) {
  return t->run(m, d, slot, in, out, e);
}
static int shim_pin(const gpushim_table *t, gpushim_engine *e, void *memory, uint64_t bytes, gpushim_error *err) {
  return t->pin(e, memory, bytes, err);
}
static int shim_unpin(const gpushim_table *t, gpushim_engine *e, void *memory, gpushim_error *err) {
  return t->unpin(e, memory, err);
}

static int shim_lend(const gpushim_table *t, gpushim_engine *e, uint32_t device, int64_t bytes, gpushim_error *err) {
  return t->lend(e, device, bytes, err);
}
static int shim_limit(const gpushim_table *t, gpushim_engine *e, uint32_t device, uint64_t bytes, gpushim_error *err) {
  return t->limit(e, device, bytes, err);
}
