/* Libraries, kernels and their launches. A launch copies its arguments, is recorded, and runs the body that a test
 * has given (kernels.py); without one it takes its time and changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"
#include "image.h"

typedef struct { Image image; void *data; Context *context; } Library;

typedef struct {
  unsigned grid[3], block[3], shared;
  void *stream, *attributes;
  unsigned attribute_count;
} LaunchConfig;

/* What runs in the place of a kernel: 0, or the error that the device is to report from then on. */
typedef int (*Body)(const char *name, const Launch *launch, int count, void **parameters, const uint32_t *sizes);
/* Told of each launch by the thread that makes it, while whoever made the kernel is surely still there. */
typedef void (*Announce)(const char *name);
static Body body;
static Announce announce;

EXPORT void fakecuda_set_body(Body chosen, Announce told);
void fakecuda_set_body(Body chosen, Announce told) {
  body = chosen;
  announce = told;
}

/* Where in the launch the calling thread is: written by the loop over threads, read by compiled bodies. Threads of the
 * block, of the grid, and their extents: threadIdx, blockIdx, blockDim, gridDim, each x y z. */
static __thread int64_t standing[12];
EXPORT void fakecuda_stand(int64_t at, int64_t value);
EXPORT int64_t fakecuda_place(int64_t at);
void fakecuda_stand(int64_t at, int64_t value) { standing[at] = value; }
int64_t fakecuda_place(int64_t at) { return standing[at]; }

API(INIT, cuLibraryLoadData,
    (Library * *out, const void *code, void *jit, void *jit_values, unsigned jit_count, void *options,
     void *option_values, unsigned option_count),
    (out, code, jit, jit_values, jit_count, options, option_values, option_count)) {
  (void)jit, (void)jit_values, (void)jit_count, (void)options, (void)option_values, (void)option_count;
  size_t size = image_size(code);
  if (!size) return INVALID_IMAGE;
  Library *library = calloc(1, sizeof *library);
  library->data = memcpy(malloc(size), code, size);
  image_read(library->data, &library->image);
  for (Kernel *k = library->image.kernels; k; k = k->next) k->library = library;
  lock();
  record_add(MODULE, (uint64_t)library, sizeof *library, current() ? current() : primary_of(0));
  unlock();
  *out = library;
  return SUCCESS;
}

/* Kernels stay readable: a launch of one may still be waiting in a stream. */
API(INIT, cuLibraryUnload, (Library * library), (library)) {
  lock();
  Record *record = record_at((uint64_t)library);
  bool known = record && record->kind == MODULE;
  if (known) record_drop(record);
  for (Global *g = known ? library->image.globals : NULL; g; g = g->next) {
    Record *memory = g->address ? record_at(g->address) : NULL;
    if (memory) memory_release(memory);
    g->address = 0;
  }
  unlock();
  return known ? SUCCESS : INVALID_HANDLE;
}

API(INIT, cuLibraryGetKernel, (Kernel * *out, Library *library, const char *name), (out, library, name)) {
  for (Kernel *k = library->image.kernels; k; k = k->next)
    if (!strcmp(k->name, name)) return *out = k, SUCCESS;
  return NOT_FOUND;
}

API(INIT, cuLibraryGetKernelCount, (unsigned *out, Library *library), (out, library)) {
  *out = 0;
  for (Kernel *k = library->image.kernels; k; k = k->next) ++*out;
  return SUCCESS;
}

/* With the lock held: give the global its place in device memory. */
static CUresult place(Global *global) {
  if (global->address && record_at(global->address)) return SUCCESS;
  Record *record;
  CUresult code = device_memory_new(DEVICE, global->size, current(), &record);
  if (code) return code;
  global->address = record->address;
  if (global->contents) memcpy(record->backing, global->contents, global->size);
  else memset(record->backing, 0, global->size);
  return SUCCESS;
}

API(CONTEXT, cuLibraryGetGlobal, (CUdeviceptr * out, size_t *size, Library *library, const char *name),
    (out, size, library, name)) {
  for (Global *g = library->image.globals; g; g = g->next) {
    if (strcmp(g->name, name) || !g->size) continue;
    lock();
    CUresult code = place(g);
    unlock();
    if (!code && out) *out = g->address;
    if (!code && size) *size = g->size;
    return code;
  }
  return NOT_FOUND;
}

API(INIT, cuKernelGetLibrary, (void **out, Kernel *kernel), (out, kernel)) {
  *out = kernel->library;
  return SUCCESS;
}

API(INIT, cuKernelGetFunction, (Kernel * *out, Kernel *kernel), (out, kernel)) {
  *out = kernel;
  return SUCCESS;
}

API(INIT, cuKernelGetName, (const char **out, Kernel *kernel), (out, kernel)) {
  *out = kernel->name;
  return SUCCESS;
}

API(INIT, cuKernelGetParamInfo, (Kernel * kernel, size_t index, size_t *offset, size_t *size),
    (kernel, index, offset, size)) {
  if (index >= (size_t)kernel->count) return INVALID_VALUE;
  *offset = kernel->offsets[index];
  if (size) *size = kernel->sizes[index];
  return SUCCESS;
}

/* The numbers are CUfunction_attribute's. */
static CUresult kernel_attribute(int *out, int attribute, const Kernel *kernel) {
  const int known[] = {kernel->max_threads, kernel->shared, kernel->constant, kernel->local, kernel->registers, 90, 90};
  *out = attribute >= 0 && attribute < 7 ? known[attribute] : attribute == 8 ? kernel->dynamic_shared : 0;
  return SUCCESS;
}

API(INIT, cuKernelGetAttribute, (int *out, int attribute, Kernel *kernel, CUdevice device),
    (out, attribute, kernel, device)) {
  (void)device;
  return kernel_attribute(out, attribute, kernel);
}

API(INIT, cuFuncGetAttribute, (int *out, int attribute, Kernel *kernel), (out, attribute, kernel)) {
  return kernel_attribute(out, attribute, kernel);
}

API(INIT, cuKernelSetAttribute, (int attribute, int value, Kernel *kernel, CUdevice device),
    (attribute, value, kernel, device)) {
  (void)device;
  if (attribute == 8) kernel->dynamic_shared = value;
  return SUCCESS;
}

API(INIT, cuKernelSetCacheConfig, (Kernel * kernel, int preference, CUdevice device), (kernel, preference, device)) {
  (void)kernel, (void)preference, (void)device;
  return SUCCESS;
}

API(INIT, cuOccupancyMaxActiveBlocksPerMultiprocessor, (int *out, Kernel *kernel, int block, size_t shared),
    (out, kernel, block, shared)) {
  (void)kernel, (void)shared;
  *out = 2048 / (block > 0 ? block : 1);
  return SUCCESS;
}

API(INIT, cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags,
    (int *out, Kernel *kernel, int block, size_t shared, unsigned flags), (out, kernel, block, shared, flags)) {
  (void)flags;
  return cuOccupancyMaxActiveBlocksPerMultiprocessor_body(out, kernel, block, shared);
}

typedef struct { Launch launch; Kernel *kernel; void *parameters[MAX_PARAMETERS]; char values[]; } Pending;

static void run_kernel(Op *op) {
  Pending *pending = op->owned;
  Kernel *kernel = pending->kernel;
  int code = body ? body(kernel->name, &pending->launch, kernel->count, pending->parameters, kernel->sizes) : 0;
  if (!code) return;
  lock();
  page->sticky = code;
  unlock();
}

/* The arguments as they are now: the caller's go out of scope while the launch waits. */
static Pending *capture(Kernel *kernel, void **parameters) {
  size_t size = 0;
  for (int i = 0; i < kernel->count; i++) size += (kernel->sizes[i] + 7u) & ~7u;
  Pending *pending = calloc(1, sizeof *pending + size);
  char *at = pending->values;
  for (int i = 0; i < kernel->count; at += (kernel->sizes[i] + 7u) & ~7u, i++)
    pending->parameters[i] = memcpy(at, parameters[i], kernel->sizes[i]);
  pending->kernel = kernel;
  return pending;
}

static CUresult launchable(const LaunchConfig *config, const Kernel *kernel) {
  uint64_t blocks = (uint64_t)config->grid[0] * config->grid[1] * config->grid[2];
  uint64_t threads = (uint64_t)config->block[0] * config->block[1] * config->block[2];
  if (!blocks || !threads || threads > 1024 || config->block[2] > 64 || config->shared > 232448) return INVALID_VALUE;
  return (uint64_t)kernel->registers * threads > 65536 || threads > (uint64_t)kernel->max_threads
             ? LAUNCH_OUT_OF_RESOURCES : SUCCESS;
}

static CUresult launch(const LaunchConfig *config, Kernel *kernel, void **parameters) {
  CUresult code = launchable(config, kernel);
  if (code) return code;
  if (announce) announce(kernel->name);
  Pending *pending = capture(kernel, parameters);
  lock();
  Stream *stream = stream_of(config->stream);
  if (!stream) return unlock(), free(pending), INVALID_HANDLE;
  Launch *told = &pending->launch;
  snprintf(told->name, sizeof told->name, "%s", kernel->name);
  memcpy(told->grid, config->grid, sizeof told->grid);
  memcpy(told->block, config->block, sizeof told->block);
  told->shared = config->shared;
  told->device = stream->context->device;
  told->stream = (uint64_t)config->stream;
  told->number = ++page->launches;
  page->launch_log[(told->number - 1) % LOG_LAUNCHES] = *told;
  Op *op = op_new(COMPUTE, run_kernel);
  op->fault = "kernel";
  op->owned = pending;
  op->measured = body != NULL;
  op->units = (double)told->grid[0] * told->grid[1] * told->grid[2] * told->block[0] * told->block[1] * told->block[2];
  submit(stream, op);
  unlock();
  return SUCCESS;
}

API(CONTEXT, cuLaunchKernelEx, (const LaunchConfig *config, Kernel *kernel, void **parameters, void **extra),
    (config, kernel, parameters, extra)) {
  (void)extra;
  return launch(config, kernel, parameters);
}

API(CONTEXT, cuLaunchKernel,
    (Kernel * kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
     void *stream, void **parameters, void **extra),
    (kernel, gx, gy, gz, bx, by, bz, shared, stream, parameters, extra)) {
  (void)extra;
  LaunchConfig config = {{gx, gy, gz}, {bx, by, bz}, shared, stream, NULL, 0};
  return launch(&config, kernel, parameters);
}
