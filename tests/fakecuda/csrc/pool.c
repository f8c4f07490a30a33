/* Stream-ordered allocation. A pool here keeps nothing back: what is freed in stream order is free. */
#include <stdlib.h>

#include "driver.h"

typedef struct {
  int device;
  bool alive;
  uint64_t used, high, limit, threshold;
  int reuse[4];
} Pool;

typedef struct { int type, id; } Location;
typedef struct {
  int allocation_type, handle_types;
  Location location;
  void *security;
  size_t max_size;
} PoolProperties;

static Pool standard[MAX_DEVICES], *chosen[MAX_DEVICES];

static Pool *default_pool(CUdevice device) {
  Pool *pool = &standard[device];
  *pool = pool->alive ? *pool : (Pool){.device = device, .alive = true, .limit = UINT64_MAX, .reuse = {0, 1, 1, 1}};
  return pool;
}

API(INIT, cuDeviceGetDefaultMemPool, (Pool * *out, CUdevice device), (out, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  *out = default_pool(device);
  return SUCCESS;
}

API(INIT, cuDeviceGetMemPool, (Pool * *out, CUdevice device), (out, device)) {
  if (no_device(device)) return INVALID_DEVICE;
  *out = chosen[device] ? chosen[device] : default_pool(device);
  return SUCCESS;
}

API(INIT, cuDeviceSetMemPool, (CUdevice device, Pool *pool), (device, pool)) {
  if (no_device(device)) return INVALID_DEVICE;
  chosen[device] = pool;
  return SUCCESS;
}

/* Pools of host memory (other location types than 1) are not modelled. */
API(INIT, cuMemPoolCreate, (Pool * *out, const PoolProperties *wanted), (out, wanted)) {
  if (wanted->location.type != 1) return NOT_SUPPORTED;
  if (no_device(wanted->location.id)) return INVALID_DEVICE;
  *out = calloc(1, sizeof **out);
  **out = (Pool){.device = wanted->location.id, .alive = true, .reuse = {0, 1, 1, 1}};
  (*out)->limit = wanted->max_size ? wanted->max_size : UINT64_MAX;
  return SUCCESS;
}

API(INIT, cuMemPoolDestroy, (Pool * pool), (pool)) {
  if (!pool->alive) return INVALID_VALUE;
  pool->alive = false;
  return SUCCESS;
}

API(INIT, cuMemPoolTrimTo, (Pool * pool, size_t keep), (pool, keep)) {
  (void)keep;
  return pool->alive ? SUCCESS : INVALID_VALUE;
}

/* 1 to 3 say how memory may be reused, 4 how much to keep, 5 to 8 tell reserved and used bytes and their peaks. */
API(INIT, cuMemPoolGetAttribute, (Pool * pool, int attribute, void *out), (pool, attribute, out)) {
  if (attribute >= 1 && attribute <= 3) return *(int *)out = pool->reuse[attribute], SUCCESS;
  if (attribute == 4) return *(uint64_t *)out = pool->threshold, SUCCESS;
  if (attribute < 5 || attribute > 8) return NOT_SUPPORTED;
  *(uint64_t *)out = attribute % 2 ? pool->used : pool->high;
  return SUCCESS;
}

API(INIT, cuMemPoolSetAttribute, (Pool * pool, int attribute, void *value), (pool, attribute, value)) {
  if (attribute >= 1 && attribute <= 3) return pool->reuse[attribute] = *(int *)value, SUCCESS;
  if (attribute == 4) return pool->threshold = *(uint64_t *)value, SUCCESS;
  return attribute == 6 || attribute == 8 ? (pool->high = pool->used, SUCCESS) : INVALID_VALUE;
}

API(INIT, cuMemPoolSetAccess, (Pool * pool, const void *access, size_t count), (pool, access, count)) {
  (void)access, (void)count;
  return pool->alive ? SUCCESS : INVALID_VALUE;
}

/* 3: a device may read and write what its own pool gives, and nothing else. */
API(INIT, cuMemPoolGetAccess, (int *out, Pool *pool, const Location *where), (out, pool, where)) {
  *out = where->type == 1 && where->id == pool->device ? 3 : 0;
  return SUCCESS;
}

API(CONTEXT, cuMemAllocFromPoolAsync, (CUdeviceptr * out, size_t size, Pool *pool, void *handle),
    (out, size, pool, handle)) {
  if (!size || !pool->alive) return INVALID_VALUE;
  Record *record;
  lock();
  Stream *stream = stream_of(handle);
  CUresult code = !stream ? INVALID_HANDLE : pool->used + size > pool->limit ? OUT_OF_MEMORY : SUCCESS;
  if (!code) code = device_memory_new(POOL, size, primary_of(pool->device), &record);
  if (!code) {
    *out = record->address;
    record->pool_used = &pool->used;
    pool->used += size;
    if (pool->used > pool->high) pool->high = pool->used;
  }
  unlock();
  return code;
}

API(CONTEXT, cuMemAllocAsync, (CUdeviceptr * out, size_t size, void *handle), (out, size, handle)) {
  int device = current()->device;
  Pool *pool = chosen[device] ? chosen[device] : default_pool(device);
  return cuMemAllocFromPoolAsync_body(out, size, pool, handle);
}

static void free_in_order(Op *op) {
  Record *record = record_at(op->address);
  if (record) memory_release(record);
}

API(CONTEXT, cuMemFreeAsync, (CUdeviceptr address, void *handle), (address, handle)) {
  lock();
  Stream *stream = stream_of(handle);
  Record *record = record_at(address);
  CUresult code = !stream ? INVALID_HANDLE : record && record->kind <= POOL ? SUCCESS : INVALID_VALUE;
  if (!code) {
    Op *op = op_new(NO_ENGINE, free_in_order);
    op->address = address;
    submit(stream, op);
  }
  unlock();
  return code;
}
