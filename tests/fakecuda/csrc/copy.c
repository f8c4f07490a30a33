/* Copies and fills: who waits for them, when they land, and what the destination holds meanwhile. */
#include <stdlib.h>
#include <string.h>

#include "driver.h"

enum { POISON = 0xFF };

static bool on_device(uint64_t address) {
  Record *record = record_in(address, 1);
  return record && (record->kind == DEVICE || record->kind == POOL || record->kind == MANAGED);
}

/* Memory that others could have given back since is looked up when the copy lands; nobody may free it earlier. */
static void land(Op *op) {
  lock();
  char *to = host_view((uint64_t)op->to);
  const char *from = host_view((uint64_t)op->from);
  unlock();
  memmove(to, op->owned ? op->owned : from, op->size);
}

/* Until the copy lands its destination holds nothing that anyone may read, unless work before it needs it still. */
static void poison(uint64_t to, size_t size) {
  if (page->poison && !pending_on(to, size)) memset((void *)to, POISON, size);
}

/* A copy as CUDA orders it: pageable memory is staged on its way in, and waited for on its way out. */
static CUresult copy(uint64_t to, uint64_t from, size_t size, void *handle, bool wait) {
  if (!size) return SUCCESS;
  lock();
  bool in = on_device(to), out = on_device(from), staged = !reachable(from, size), pageable = !reachable(to, size);
  Stream *stream = stream_of(handle);
  if (!stream) return unlock(), INVALID_HANDLE;
  if ((staged && record_in(from, 1)) || (pageable && record_in(to, 1))) return unlock(), INVALID_VALUE;
  Op *op = op_new(in ? (out ? COMPUTE : H2D) : D2H, land);
  op->fault = "copy";
  op->units = (double)size;
  op->size = size;
  op->to = (char *)to;
  op->from = (const char *)from;
  if (staged) op->owned = memcpy(malloc(size), (void *)from, size), op->from = NULL;
  if (!in && !pageable && !wait) poison(to, size);
  Ticket ticket = submit(stream, op);
  CUresult code = wait || pageable ? await(ticket) : SUCCESS;
  unlock();
  return code;
}

/* Both addresses must lie where the call says that they do. */
static CUresult device_side(uint64_t address, size_t size) {
  lock();
  bool good = !size || reachable(address, size);
  unlock();
  return good ? SUCCESS : INVALID_VALUE;
}

API(CONTEXT, cuMemcpyHtoD, (CUdeviceptr to, const void *from, size_t size), (to, from, size)) {
  CUresult code = device_side(to, size);
  return code ? code : copy(to, (uint64_t)from, size, NULL, true);
}

API(CONTEXT, cuMemcpyHtoDAsync, (CUdeviceptr to, const void *from, size_t size, void *stream), (to, from, size, stream)) {
  CUresult code = device_side(to, size);
  return code ? code : copy(to, (uint64_t)from, size, stream, false);
}

API(CONTEXT, cuMemcpyDtoH, (void *to, CUdeviceptr from, size_t size), (to, from, size)) {
  CUresult code = device_side(from, size);
  return code ? code : copy((uint64_t)to, from, size, NULL, true);
}

API(CONTEXT, cuMemcpyDtoHAsync, (void *to, CUdeviceptr from, size_t size, void *stream), (to, from, size, stream)) {
  CUresult code = device_side(from, size);
  return code ? code : copy((uint64_t)to, from, size, stream, false);
}

/* Between device addresses even the plain call does not wait. */
API(CONTEXT, cuMemcpyDtoD, (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size)) {
  CUresult code = device_side(to, size);
  if (!code) code = device_side(from, size);
  return code ? code : copy(to, from, size, NULL, false);
}

API(CONTEXT, cuMemcpyDtoDAsync, (CUdeviceptr to, CUdeviceptr from, size_t size, void *stream), (to, from, size, stream)) {
  CUresult code = device_side(to, size);
  if (!code) code = device_side(from, size);
  return code ? code : copy(to, from, size, stream, false);
}

API(CONTEXT, cuMemcpy, (CUdeviceptr to, CUdeviceptr from, size_t size), (to, from, size)) {
  return copy(to, from, size, NULL, true);
}

API(CONTEXT, cuMemcpyAsync, (CUdeviceptr to, CUdeviceptr from, size_t size, void *stream), (to, from, size, stream)) {
  return copy(to, from, size, stream, false);
}

static void land_fill(Op *op) {
  lock();
  char *to = host_view((uint64_t)op->to);
  unlock();
  for (size_t i = 0; i < op->size; i += op->pitch) memcpy(to + i, &op->address, op->pitch);
}

/* `count` elements of `width` bytes. The plain call waits only if the host can see what it fills. */
static CUresult fill(CUdeviceptr to, uint64_t value, size_t width, size_t count, void *handle, bool plain) {
  if (!count) return SUCCESS;
  lock();
  Stream *stream = stream_of(handle);
  CUresult code = !stream ? INVALID_HANDLE : reachable(to, width * count) ? SUCCESS : INVALID_VALUE;
  if (code) return unlock(), code;
  Op *op = op_new(COMPUTE, land_fill);
  op->to = (char *)to;
  op->size = width * count;
  op->pitch = width;
  op->address = value;
  Ticket ticket = submit(stream, op);
  if (plain && host_view(to) == (void *)to) code = await(ticket);
  unlock();
  return code;
}

#define FILL(name, type)                                                                                         \
  API(CONTEXT, name, (CUdeviceptr to, type value, size_t count), (to, value, count)) {                             \
    return fill(to, value, sizeof value, count, NULL, true);                                                            \
  }                                                                                                              \
  API(CONTEXT, name##Async, (CUdeviceptr to, type value, size_t count, void *stream), (to, value, count, stream)) { \
    return fill(to, value, sizeof value, count, stream, false);                                                          \
  }

FILL(cuMemsetD8, unsigned char)
FILL(cuMemsetD16, unsigned short)
FILL(cuMemsetD32, unsigned)
