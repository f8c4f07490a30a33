/* Memory of every kind: device, page-locked, registered, managed; limits; and what pointers are.
 *
 * The address of device memory can be reserved but not read, as on a real host: whoever uses it as a host pointer is
 * stopped there and then. What it holds lies behind it (`host_view`). Page-locked memory is a shared mapping,
 * touched at once: that is how the real one shows up in RssShmem.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "driver.h"
#include "host.h"

enum { PAGE_BYTES = 4096, POISON = 0xFF };

static pthread_mutex_t pinning = PTHREAD_MUTEX_INITIALIZER;

static size_t rounded(size_t size) { return (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES; }

static void *map(size_t size, int protection, int flags) {
  void *at = mmap(NULL, size, protection, flags | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

void *host_view(uint64_t address) {
  Record *record = record_in(address, 1);
  if (!record || !record->backing) return (void *)address;
  return (char *)record->backing + (address - record->address);
}

/* Whether `address` starts `size` bytes that the device can reach: its own, page-locked or registered ones. */
bool reachable(uint64_t address, size_t size) {
  Record *record = record_in(address, 1);
  return record && record->kind < STREAM && address + size <= record->address + record->size;
}

/* Bytes in use on a device; nobody on the host takes more until host_leave(). */
static uint64_t used_on(int device) {
  return page->device_used[device] + host_enter(visible[device].gpu, visible[device].mig).device;
}

/* With the lock held: make a record of `size` bytes on the device, if they fit and can be mapped. */
static Record *record_on_device(Kind kind, void *at, size_t size, Context *context) {
  bool fits = at && used_on(context->device) + size <= page->device_bytes;
  Record *record = fits ? record_add(kind, (uint64_t)at, size, context) : NULL;
  host_leave();
  return record;
}

/* Device memory of `kind`: an unreadable reservation, followed by its contents. */
CUresult device_memory_new(Kind kind, size_t size, Context *context, Record **out) {
  size_t span = rounded(size);
  char *at = size <= page->device_bytes ? map(2 * span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE) : NULL;
  if (!at) return OUT_OF_MEMORY;
  *out = mprotect(at, span, PROT_NONE) ? NULL : record_on_device(kind, at, size, context);
  if (!*out) return munmap(at, 2 * span), OUT_OF_MEMORY;
  if (page->poison) memset(at + span, POISON, size);
  (*out)->backing = at + span;
  return SUCCESS;
}

/* Forget the record and give its memory back. */
void memory_release(Record *record) {
  void *at = (void *)record->address;
  size_t span = rounded(record->size);
  Kind kind = record->kind;
  record_drop(record);
  if (kind == DEVICE || kind == POOL) munmap(at, 2 * span);
  if (kind == PINNED || kind == MAPPED || kind == MANAGED) munmap(at, span);
}

/* Freeing waits for all work of the context, as the driver does; unrelated work that holds it up is noted. */
static CUresult release(uint64_t address, unsigned kinds, CUresult unknown) {
  lock();
  Record *record = record_at(address);
  if (!record || !(kinds >> record->kind & 1)) return unlock(), unknown;
  Context *context = record->context;
  bool own = pending_on(record->address, record->size);
  double before = now();
  CUresult code = await_context(context);
  if (!own && now() - before > 0.001) page->stalls++;
  record = record_at(address); /* another thread may have freed it during the wait */
  if (!code && !record) code = unknown;
  if (!code) memory_release(record);
  unlock();
  return code;
}

API(CONTEXT, cuMemGetInfo, (size_t * available, size_t *total), (available, total)) {
  lock();
  uint64_t used = used_on(current()->device);
  host_leave();
  unlock();
  *total = page->device_bytes;
  *available = *total > used ? *total - used : 0;
  return SUCCESS;
}

API(CONTEXT, cuMemAlloc, (CUdeviceptr * out, size_t size), (out, size)) {
  if (!size) return INVALID_VALUE;
  Record *record;
  lock();
  CUresult code = device_memory_new(DEVICE, size, current(), &record);
  if (!code) *out = record->address;
  unlock();
  return code;
}

API(INIT, cuMemFree, (CUdeviceptr address), (address)) {
  return address ? release(address, 1 << DEVICE | 1 << MANAGED | 1 << POOL, INVALID_VALUE) : SUCCESS;
}

API(CONTEXT, cuMemAllocManaged, (CUdeviceptr * out, size_t size, unsigned flags), (out, size, flags)) {
  (void)flags;
  if (!size) return INVALID_VALUE;
  lock();
  void *at = size <= page->device_bytes ? map(rounded(size), PROT_READ | PROT_WRITE, MAP_PRIVATE) : NULL;
  Record *record = record_on_device(MANAGED, at, size, current());
  unlock();
  if (!record && at) munmap(at, rounded(size));
  *out = record ? record->address : 0;
  return record ? SUCCESS : OUT_OF_MEMORY;
}

/* With the lock held: whether `size` more bytes, in one more region, may be page-locked. Followed by host_leave(). */
static bool may_pin(size_t size) {
  Held others = host_enter(-1, -1);
  uint64_t bytes = others.pinned, regions = others.regions;
  for (Kind kind = PINNED; kind <= REGISTERED; kind++) {
    bytes += page->counters[kind].bytes;
    regions += (uint64_t)page->counters[kind].live;
  }
  return bytes + size <= page->pinned_bytes && regions < page->pinned_regions;
}

/* Page-locking is slow and done for one caller at a time. */
static void pin_slowly(size_t size) {
  double seconds = page->pin_seconds + (double)size * page->pin_byte_seconds;
  if (seconds <= 0) return;
  pthread_mutex_lock(&pinning);
  sleep_until(now() + seconds);
  pthread_mutex_unlock(&pinning);
}

API(CONTEXT, cuMemHostAlloc, (void **out, size_t size, unsigned flags), (out, size, flags)) {
  if (!size) return INVALID_VALUE;
  pin_slowly(size);
  lock();
  void *at = may_pin(size) ? map(rounded(size), PROT_READ | PROT_WRITE, MAP_SHARED) : NULL;
  if (at) {
    record_add(flags & 2 ? MAPPED : PINNED, (uint64_t)at, size, current())->flags = flags;
    memset(at, page->poison ? POISON : 0, size);
  }
  host_leave();
  unlock();
  *out = at;
  return at ? SUCCESS : OUT_OF_MEMORY;
}

API(CONTEXT, cuMemAllocHost, (void **out, size_t size), (out, size)) { return cuMemHostAlloc_body(out, size, 0); }

API(INIT, cuMemFreeHost, (void *address), (address)) {
  return release((uint64_t)address, 1 << PINNED | 1 << MAPPED, INVALID_VALUE);
}

API(CONTEXT, cuMemHostRegister, (void *address, size_t size, unsigned flags), (address, size, flags)) {
  if (!address || !size) return INVALID_VALUE;
  pin_slowly(size);
  lock();
  CUresult code = record_in((uint64_t)address, size) ? ALREADY_REGISTERED : may_pin(size) ? SUCCESS : OUT_OF_MEMORY;
  if (!code) record_add(REGISTERED, (uint64_t)address, size, current())->flags = flags;
  host_leave();
  unlock();
  return code;
}

API(INIT, cuMemHostUnregister, (void *address), (address)) {
  return release((uint64_t)address, 1 << REGISTERED, NOT_REGISTERED);
}

static CUresult look_up(uint64_t address, Record *out) {
  lock();
  Record *record = record_in(address, 1);
  bool found = record && record->kind < STREAM;
  if (found) *out = *record;
  unlock();
  return found ? SUCCESS : INVALID_VALUE;
}

API(INIT, cuMemHostGetDevicePointer, (CUdeviceptr * out, void *address, unsigned flags), (out, address, flags)) {
  (void)flags;
  Record record;
  *out = (CUdeviceptr)address;
  return look_up(*out, &record);
}

API(INIT, cuMemHostGetFlags, (unsigned *out, void *address), (out, address)) {
  Record record;
  CUresult code = look_up((uint64_t)address, &record);
  if (!code) *out = record.flags;
  return code;
}

API(INIT, cuMemGetAddressRange, (CUdeviceptr * start, size_t *size, CUdeviceptr address), (start, size, address)) {
  Record record;
  CUresult code = look_up(address, &record);
  if (!code && start) *start = record.address;
  if (!code && size) *size = record.size;
  return code;
}

/* The numbers are CUpointer_attribute's. */
static CUresult pointer_attribute(void *out, int attribute, uint64_t address) {
  Record record;
  CUresult code = look_up(address, &record);
  if (code) return code;
  bool device = record.kind == DEVICE || record.kind == POOL, managed = record.kind == MANAGED;
  switch (attribute) {
    case 1: *(Context **)out = record.context; return SUCCESS;
    case 2: *(unsigned *)out = device || managed ? 2 : 1; return SUCCESS;
    case 3: *(CUdeviceptr *)out = address; return SUCCESS;
    case 4: *(void **)out = device ? NULL : (void *)address; return device ? INVALID_VALUE : SUCCESS;
    case 6: *(int *)out = 1; return SUCCESS;
    case 7: *(uint64_t *)out = record.id; return SUCCESS;
    case 8: *(unsigned *)out = managed; return SUCCESS;
    case 9: *(int *)out = record.context->device; return SUCCESS;
    case 11: *(CUdeviceptr *)out = record.address; return SUCCESS;
    case 12: *(size_t *)out = record.size; return SUCCESS;
    case 13: *(int *)out = 1; return SUCCESS;
    default: return NOT_SUPPORTED;
  }
}

API(INIT, cuPointerGetAttribute, (void *out, int attribute, CUdeviceptr address), (out, attribute, address)) {
  return pointer_attribute(out, attribute, address);
}

/* Unlike the single question, this one answers 0 for memory that CUDA does not know. */
API(INIT, cuPointerGetAttributes, (unsigned count, int *which, void **out, CUdeviceptr address),
    (count, which, out, address)) {
  for (unsigned i = 0; i < count; i++)
    if (pointer_attribute(out[i], which[i], address)) memset(out[i], 0, which[i] == 2 || which[i] == 8 ? 4 : 8);
  return SUCCESS;
}

/* For kernels.py: where the host can read and write what a device address means. */
EXPORT void *fakecuda_host_view(uint64_t address);
void *fakecuda_host_view(uint64_t address) {
  lock();
  void *view = host_view(address);
  unlock();
  return view;
}
