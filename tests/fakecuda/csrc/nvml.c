/* A fake libnvidia-ml.so.1: the GPUs of topology.c, with the memory that live fake drivers hold.
 *
 * With FAKECUDA_DIR set, used memory and running processes are read from the pages of all processes that have the
 * fake driver there, so that what NVML says agrees with what CUDA did. CUDA_VISIBLE_DEVICES means nothing to NVML.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"
#include "page.h"
#include "topology.h"

typedef int Result;
enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, NOT_LOADED = 9 };
enum { CONTEXT_BYTES = 300 << 20 };

/* A handle is the address of one of these; mig is -1 for a whole GPU. */
typedef struct { int gpu, mig; } Device;
static Device handles[MAX_DEVICES][MAX_DEVICES + 1];

typedef struct { unsigned long long total, available, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, available, used; } MemoryV2;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char text[32]; } Pci;

static int started;

__attribute__((constructor)) static void load(void) { page_open("nvml", "FAKENVML_SETTINGS", "FAKENVML_FAULTS"); }

static Result finish(const char *name, Result result) {
  page_log(name, result);
  return result;
}

static Result start(const char *name, int need) {
  int code = fault(name);
  return code ? code : need && !started ? UNINITIALIZED : OK;
}

#define NVML(need, name, params, args)                         \
  static Result name##_body params;                            \
  __attribute__((visibility("default"))) Result name params;   \
  Result name params {                                         \
    Result begun_ = start(#name, need);                        \
    return finish(#name, begun_ ? begun_ : name##_body args);  \
  }                                                            \
  static Result name##_body params

static Device *handle(int gpu, int mig) {
  Device *device = &handles[gpu][mig + 1];
  *device = (Device){gpu, mig};
  return device;
}

static Result text(char *out, unsigned room, const char *value) {
  return snprintf(out, room, "%s", value) < (int)room ? OK : TOO_SMALL;
}

NVML(0, nvmlInitWithFlags, (unsigned flags), (flags)) {
  (void)flags;
  if (!gpu_count()) return NOT_LOADED;
  started++;
  return OK;
}

NVML(0, nvmlInit_v2, (void), ()) { return nvmlInitWithFlags_body(0); }

NVML(1, nvmlShutdown, (void), ()) {
  started--;
  return OK;
}

__attribute__((visibility("default"))) const char *nvmlErrorString(Result result);
const char *nvmlErrorString(Result result) {
  static const char *const known[] = {"Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
                                      "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power",
                                      "Driver Not Loaded"};
  return result >= 0 && result < 10 ? known[result] : result == 15 ? "GPU is lost" : "Unknown Error";
}

NVML(1, nvmlSystemGetDriverVersion, (char *out, unsigned room), (out, room)) { return text(out, room, "580.00.fakecuda"); }

NVML(1, nvmlSystemGetCudaDriverVersion_v2, (int *out), (out)) {
  *out = 13000;
  return OK;
}

NVML(1, nvmlDeviceGetCount_v2, (unsigned *out), (out)) {
  *out = (unsigned)gpu_count();
  return OK;
}

NVML(1, nvmlDeviceGetHandleByIndex_v2, (unsigned index, Device **out), (index, out)) {
  if (index >= (unsigned)gpu_count()) return INVALID_ARGUMENT;
  *out = handle((int)index, -1);
  return OK;
}

NVML(1, nvmlDeviceGetHandleByUUID, (const char *uuid, Device **out), (uuid, out)) {
  for (int gpu = 0; gpu < gpu_count(); gpu++)
    for (int mig = -1; mig < gpu_mig(gpu); mig++) {
      char own[UUID_TEXT];
      gpu_uuid_text(gpu, mig, own);
      if (!strcmp(own, uuid)) return *out = handle(gpu, mig), OK;
    }
  return NOT_FOUND;
}

NVML(1, nvmlDeviceGetUUID, (Device * device, char *out, unsigned room), (device, out, room)) {
  char own[UUID_TEXT];
  gpu_uuid_text(device->gpu, device->mig, own);
  return text(out, room, own);
}

NVML(1, nvmlDeviceGetName, (Device * device, char *out, unsigned room), (device, out, room)) {
  char own[64];
  snprintf(own, sizeof own, device->mig < 0 ? "FakeCUDA device %d" : "FakeCUDA device %d MIG %d", device->gpu, device->mig);
  return text(out, room, own);
}

NVML(1, nvmlDeviceGetIndex, (Device * device, unsigned *out), (device, out)) {
  *out = (unsigned)device->gpu;
  return OK;
}

NVML(1, nvmlDeviceGetPciInfo_v3, (Device * device, Pci *out), (device, out)) {
  *out = (Pci){.bus = (unsigned)device->gpu + 1};
  snprintf(out->legacy, sizeof out->legacy, "0000:%02X:00.0", out->bus & 0xff);
  snprintf(out->text, sizeof out->text, "00000000:%02X:00.0", out->bus);
  return OK;
}

NVML(1, nvmlDeviceGetCudaComputeCapability, (Device * device, int *major, int *minor), (device, major, minor)) {
  (void)device;
  *major = 9, *minor = 0;
  return OK;
}

NVML(1, nvmlDeviceGetComputeMode, (Device * device, int *out), (device, out)) {
  *out = gpu_mode(device->gpu);
  return OK;
}

NVML(1, nvmlDeviceGetMigMode, (Device * device, unsigned *mode, unsigned *pending), (device, mode, pending)) {
  *mode = *pending = gpu_mig(device->gpu) > 0;
  return OK;
}

NVML(1, nvmlDeviceGetMaxMigDeviceCount, (Device * device, unsigned *out), (device, out)) {
  *out = gpu_mig(device->gpu) ? 7 : 0;
  return OK;
}

NVML(1, nvmlDeviceGetMigDeviceHandleByIndex, (Device * device, unsigned index, Device **out), (device, index, out)) {
  if (index >= (unsigned)gpu_mig(device->gpu)) return NOT_FOUND;
  *out = handle(device->gpu, (int)index);
  return OK;
}

NVML(1, nvmlDeviceIsMigDeviceHandle, (Device * device, unsigned *out), (device, out)) {
  *out = device->mig >= 0;
  return OK;
}

NVML(1, nvmlDeviceGetDeviceHandleFromMigDeviceHandle, (Device * device, Device **out), (device, out)) {
  if (device->mig < 0) return INVALID_ARGUMENT;
  *out = handle(device->gpu, -1);
  return OK;
}

typedef struct { Device *device; Process *out; unsigned room, count; } Census;

/* Add what one process holds on the GPU, read from its page; a context costs something too. */
static void add_process(const Page *other, void *told) {
  Census *census = told;
  Device *device = census->device;
  for (int i = 0; i < other->devices; i++) {
    if (!other->contexts[i] || other->gpus[i] != device->gpu || (device->mig >= 0 && other->migs[i] != device->mig)) continue;
    unsigned long long bytes = CONTEXT_BYTES + other->device_used[i];
    if (census->count < census->room) census->out[census->count] = (Process){(unsigned)other->pid, bytes, ~0u, ~0u};
    census->count++;
  }
}

static unsigned processes(Device *device, Process *out, unsigned room) {
  Census census = {device, out, room, 0};
  host_pages(add_process, &census);
  return census.count;
}

NVML(1, nvmlDeviceGetComputeRunningProcesses_v3, (Device * device, unsigned *count, Process *out), (device, count, out)) {
  unsigned room = *count;
  *count = processes(device, out, room);
  return *count > room ? TOO_SMALL : OK;
}

static Memory memory(Device *device) {
  Process found[256];
  unsigned count = processes(device, found, 256);
  Memory told = {.total = page->device_bytes};
  for (unsigned i = 0; i < count && i < 256; i++) told.used += found[i].used;
  told.available = told.total > told.used ? told.total - told.used : 0;
  return told;
}

NVML(1, nvmlDeviceGetMemoryInfo, (Device * device, Memory *out), (device, out)) {
  *out = memory(device);
  return OK;
}

NVML(1, nvmlDeviceGetMemoryInfo_v2, (Device * device, MemoryV2 *out), (device, out)) {
  Memory told = memory(device);
  *out = (MemoryV2){out->version, told.total, 0, told.available, told.used};
  return OK;
}

__attribute__((visibility("default"))) Page *fakecuda_page(void);
__attribute__((visibility("default"))) int fakecuda_faults(const char *list);
Page *fakecuda_page(void) { return page; }
int fakecuda_faults(const char *list) { return faults_set(list); }
