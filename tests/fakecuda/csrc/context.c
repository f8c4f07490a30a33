/* Contexts: a primary one for each device, others by cuCtxCreate, and each thread's stack of them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "driver.h"

enum { STACK_DEPTH = 64 };

static Context primary[MAX_DEVICES];
static uint64_t context_ids;
static __thread Context *stack[STACK_DEPTH];
static __thread int depth;

Context *primary_of(CUdevice device) { return &primary[device]; }

Context *current(void) { return depth && stack[depth - 1]->alive ? stack[depth - 1] : NULL; }

/* PROHIBITED devices take no context; EXCLUSIVE_PROCESS ones only those of one process, which a lock file in
 * FAKECUDA_DIR decides: it goes with the process, however that ends. */
static bool admitted(int device) {
  static bool held[MAX_DEVICES];
  int gpu = visible[device].gpu, mode = gpu_mode(gpu);
  const char *folder = getenv("FAKECUDA_DIR");
  if (mode != MODE_EXCLUSIVE || !folder || held[device]) return mode != MODE_PROHIBITED;
  char path[4096];
  snprintf(path, sizeof path, "%s/gpu%d.lock", folder, gpu);
  int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  held[device] = file >= 0 && !flock(file, LOCK_EX | LOCK_NB);
  if (!held[device] && file >= 0) close(file);
  return held[device];
}

static void context_start(Context *context, int device) {
  context->device = device;
  context->alive = true;
  context->id = ++context_ids;
  page->contexts[device]++;
}

/* Everything in the context goes with it, page-locked memory too. */
static void context_end(Context *context) {
  if (!context->alive) return;
  await_context(context);
  records_of(context, memory_release);
  streams_drop(context);
  context->alive = false;
  page->contexts[context->device]--;
}

API(INIT, cuDevicePrimaryCtxRetain, (Context * *out, CUdevice device), (out, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  Context *context = &primary[device];
  lock();
  CUresult code = context->alive || admitted(device) ? SUCCESS : DEVICE_UNAVAILABLE;
  if (!code && !context->alive) context_start(context, device);
  context->primary = true;
  if (!code) context->retained++;
  unlock();
  *out = context;
  return code;
}

API(INIT, cuDevicePrimaryCtxRelease, (CUdevice device), (device)) {
  if (no_device(device)) return INVALID_DEVICE;
  lock();
  Context *context = &primary[device];
  CUresult code = context->retained ? SUCCESS : INVALID_CONTEXT;
  if (!code && !--context->retained) context_end(context);
  unlock();
  return code;
}

/* Ends the context whoever still retains it; the next retain starts a new one in the same place. */
API(INIT, cuDevicePrimaryCtxReset, (CUdevice device), (device)) {
  if (no_device(device)) return INVALID_DEVICE;
  lock();
  context_end(&primary[device]);
  if (primary[device].retained) context_start(&primary[device], device);
  unlock();
  return SUCCESS;
}

API(LOOK, cuDevicePrimaryCtxGetState, (CUdevice device, unsigned *flags, int *active), (device, flags, active)) {
  if (no_device(device)) return INVALID_DEVICE;
  *flags = 0;
  *active = primary[device].alive;
  return SUCCESS;
}

API(INIT, cuDevicePrimaryCtxSetFlags, (CUdevice device, unsigned flags), (device, flags)) {
  (void)flags;
  return no_device(device) ? INVALID_DEVICE : SUCCESS;
}

API(INIT, cuCtxCreate, (Context * *out, void *parameters, unsigned flags, CUdevice device),
    (out, parameters, flags, device)) {
  (void)parameters, (void)flags;
  if (no_device(device)) return INVALID_DEVICE;
  if (depth == STACK_DEPTH) return INVALID_VALUE;
  if (!admitted(device)) return DEVICE_UNAVAILABLE;
  *out = calloc(1, sizeof **out);
  lock();
  context_start(*out, device);
  unlock();
  stack[depth++] = *out;
  return SUCCESS;
}

API(INIT, cuCtxDestroy, (Context * context), (context)) {
  if (!context || !context->alive || context->primary) return INVALID_CONTEXT;
  lock();
  context_end(context);
  unlock();
  if (depth && stack[depth - 1] == context) depth--;
  return SUCCESS;
}

API(LOOK, cuCtxGetCurrent, (Context * *out), (out)) {
  *out = depth ? stack[depth - 1] : NULL;
  return SUCCESS;
}

API(LOOK, cuCtxSetCurrent, (Context * context), (context)) {
  if (!context) {
    depth -= depth > 0;
    return SUCCESS;
  }
  if (!context->alive) return INVALID_CONTEXT;
  stack[depth ? depth - 1 : depth++] = context;
  return SUCCESS;
}

API(LOOK, cuCtxPushCurrent, (Context * context), (context)) {
  if (!context || !context->alive) return INVALID_CONTEXT;
  if (depth == STACK_DEPTH) return INVALID_VALUE;
  stack[depth++] = context;
  return SUCCESS;
}

API(LOOK, cuCtxPopCurrent, (Context * *out), (out)) {
  if (!depth) return INVALID_CONTEXT;
  Context *popped = stack[--depth];
  if (out) *out = popped;
  return SUCCESS;
}

API(CONTEXT, cuCtxGetDevice, (CUdevice * out), (out)) {
  *out = current()->device;
  return SUCCESS;
}

API(LOOK, cuCtxGetId, (Context * context, unsigned long long *out), (context, out)) {
  if (!context && !(context = current())) return INVALID_CONTEXT;
  *out = context->id;
  return SUCCESS;
}

API(LOOK, cuCtxGetFlags, (unsigned *out), (out)) {
  *out = 0;
  return SUCCESS;
}

API(LOOK, cuCtxGetApiVersion, (Context * context, unsigned *out), (context, out)) {
  (void)context;
  *out = DRIVER_VERSION;
  return SUCCESS;
}

API(LOOK, cuCtxGetStreamPriorityRange, (int *least, int *greatest), (least, greatest)) {
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return SUCCESS;
}

API(INIT, cuCtxEnablePeerAccess, (Context * context, unsigned flags), (context, flags)) {
  (void)context, (void)flags;
  return PEER_ACCESS_UNSUPPORTED;
}
