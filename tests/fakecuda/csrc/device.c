/* Starting up, devices, and the table of all functions. */
#define _GNU_SOURCE
#include "driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CAPABILITY_MAJOR = 9, CAPABILITY_MINOR = 0 };

static pid_t started_by;
static const char *refused;
Visible visible[MAX_DEVICES];
int device_count;

/* Signs of a real driver: beside one the fake must not answer, lest a broken set-up pass for a GPU. */
static const char *real_driver(void) {
  static char found[4096];
  static const char usual[] =
#include "signs.inc"
      ;
  const char *signs = getenv("FAKECUDA_REAL_SIGNS");
  if (!signs) signs = usual;
  char *copy = strdup(signs), *rest = NULL;
  *found = 0;
  for (char *sign = strtok_r(copy, ":", &rest); sign && !*found; sign = strtok_r(NULL, ":", &rest))
    if (!access(sign, F_OK)) snprintf(found, sizeof found, "%s", sign);
  free(copy);
  return *found ? found : NULL;
}

__attribute__((constructor)) static void load(void) {
  page_open("cuda", "FAKECUDA_SETTINGS", "FAKECUDA_FAULTS");
  refused = real_driver();
  if (refused) fprintf(stderr, "FakeCUDA: will not work beside a real driver (%s exists)\n", refused);
}

/* Whether this process inherited CUDA through fork(): nothing works there, as with the real driver. */
static bool check_fork(void) { return started_by && started_by != getpid(); }

CUresult call_begin(const char *name, Need need) {
  if (check_fork()) return need == NOTHING ? SUCCESS : NOT_INITIALIZED;
  if (inside_operation && need != NOTHING) return NOT_PERMITTED; /* it would wait for itself */
  if (need != NOTHING && !started_by) return NOT_INITIALIZED;
  int code = fault(name);
  if (code) return code;
  if (need > LOOK && page->sticky) return page->sticky;
  return need == CONTEXT && !current() ? INVALID_CONTEXT : SUCCESS;
}

CUresult call_end(const char *name, CUresult code) {
  page_log(name, code);
  return code;
}

API(NOTHING, cuInit, (unsigned flags), (flags)) {
  if (flags) return INVALID_VALUE;
  if (refused) return DRIVER_MISMATCH;
  if (check_fork()) return NOT_INITIALIZED;
  if (started_by) return SUCCESS;
  page->devices = device_count = gpu_visible(visible, MAX_DEVICES);
  for (int i = 0; i < device_count; i++) {
    page->gpus[i] = visible[i].gpu;
    page->migs[i] = visible[i].mig;
  }
  if (!device_count) return NO_DEVICE;
  started_by = getpid();
  return SUCCESS;
}

API(NOTHING, cuDriverGetVersion, (int *out), (out)) {
  *out = DRIVER_VERSION;
  return SUCCESS;
}

API(LOOK, cuDeviceGetCount, (int *out), (out)) {
  *out = device_count;
  return SUCCESS;
}

bool no_device(CUdevice device) { return device < 0 || device >= device_count; }

API(LOOK, cuDeviceGet, (CUdevice * out, int ordinal), (out, ordinal)) {
  if (no_device(ordinal)) return INVALID_DEVICE;
  *out = ordinal;
  return SUCCESS;
}

API(LOOK, cuDeviceGetName, (char *out, int size, CUdevice device), (out, size, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  snprintf(out, (size_t)size, "FakeCUDA device %d", visible[device].gpu);
  return SUCCESS;
}

API(LOOK, cuDeviceGetUuid, (unsigned char *out, CUdevice device), (out, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  gpu_uuid_bytes(visible[device].gpu, visible[device].mig, out);
  return SUCCESS;
}

API(LOOK, cuDeviceTotalMem, (size_t * out, CUdevice device), (out, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  *out = page->device_bytes;
  return SUCCESS;
}

/* Those that programs ask for and that are not 0; the numbers are CUdevice_attribute's. */
static const struct { int attribute, value; } attributes[] = {
    {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152}, {9, 65536},
    {10, 32}, {11, 2147483647}, {12, 65536}, {13, 1000000}, {15, 1}, {16, 8}, {19, 1}, {31, 1}, {32, 0}, {36, 1000000},
    {37, 64}, {38, 1 << 20}, {39, 2048}, {40, 2}, {41, 1}, {75, CAPABILITY_MAJOR}, {76, CAPABILITY_MINOR}, {78, 1},
    {81, 233472}, {82, 65536}, {83, 1}, {88, 0}, {89, 1}, {95, 1}, {97, 232448}, {106, 32}, {115, 1},
};

API(LOOK, cuDeviceGetAttribute, (int *out, int attribute, CUdevice device), (out, attribute, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  *out = attribute == 33 ? visible[device].gpu + 1 : attribute == 20 ? gpu_mode(visible[device].gpu) : 0;
  for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
    if (attributes[i].attribute == attribute) *out = attributes[i].value;
  return SUCCESS;
}

API(LOOK, cuDeviceGetPCIBusId, (char *out, int size, CUdevice device), (out, size, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  snprintf(out, (size_t)size, "0000:%02X:00.0", visible[device].gpu + 1);
  return SUCCESS;
}

API(LOOK, cuDeviceCanAccessPeer, (int *out, CUdevice one, CUdevice other), (out, one, other)) {
  if (no_device(one) || no_device(other)) return INVALID_DEVICE;
  *out = 0;
  return SUCCESS;
}

API(INIT, cuProfilerStart, (void), ()) { return SUCCESS; }
API(INIT, cuProfilerStop, (void), ()) { return SUCCESS; }

/* The CUDA runtime lives on private tables from here: it cannot work on a fake, and says so at once. */
API(NOTHING, cuGetExportTable, (const void **out, const void *id), (out, id)) {
  (void)id;
  *out = NULL;
  return NOT_FOUND;
}

extern const Symbol *const __start_api[], *const __stop_api[];

EXPORT CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status);
EXPORT CUresult cuGetProcAddress(const char *name, void **out, int version, uint64_t flags, int *status);

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
  (void)version, (void)flags;
  *out = NULL;
  if (!strcmp(name, "cuGetProcAddress")) *out = (void *)cuGetProcAddress_v2;
  for (const Symbol *const *s = __start_api; s < __stop_api && !*out; s++)
    if (!strcmp((*s)->name, name)) *out = (*s)->function;
  if (status) *status = *out ? 0 : 1;
  return *out ? SUCCESS : NOT_FOUND;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, uint64_t flags, int *status) {
  return cuGetProcAddress_v2(name, out, version, flags, status);
}

/* For control.py: the page of this process, and a new set of faults (0 when the text cannot be read). */
EXPORT Page *fakecuda_page(void);
EXPORT int fakecuda_faults(const char *text);
Page *fakecuda_page(void) { return page; }
int fakecuda_faults(const char *text) { return faults_set(text); }
