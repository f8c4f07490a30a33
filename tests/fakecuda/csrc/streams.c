/* Streams and events as programs see them; what they order is in queue.c. */
#include <stdlib.h>

#include "driver.h"

/* Streams and events are never freed, only forgotten: so a use after their end is seen, not undefined. */
#define STREAM_OR(code, handle)             \
  Stream *stream = (lock(), stream_of(handle)); \
  if (!stream) return unlock(), (code)

API(CONTEXT, cuStreamCreateWithPriority, (void **out, unsigned flags, int priority), (out, flags, priority)) {
  lock();
  *out = stream_new(current(), flags, priority);
  record_add(STREAM, (uint64_t)*out, sizeof(Stream), current());
  unlock();
  return SUCCESS;
}

API(CONTEXT, cuStreamCreate, (void **out, unsigned flags), (out, flags)) {
  return cuStreamCreateWithPriority_body(out, flags, 0);
}

/* Returns at once; what was submitted still runs. */
API(INIT, cuStreamDestroy, (void *handle), (handle)) {
  STREAM_OR(INVALID_HANDLE, handle);
  CUresult code = (uintptr_t)handle > 2 ? SUCCESS : INVALID_HANDLE;
  if (!code) {
    record_drop(record_at((uint64_t)handle));
    stream->alive = false;
    demand((Ticket){stream, stream->submitted});
    settle();
  }
  unlock();
  return code;
}

API(INIT, cuStreamSynchronize, (void *handle), (handle)) {
  STREAM_OR(INVALID_HANDLE, handle);
  CUresult code = await((Ticket){stream, stream->submitted});
  unlock();
  return code;
}

API(INIT, cuStreamQuery, (void *handle), (handle)) {
  STREAM_OR(INVALID_HANDLE, handle);
  CUresult code = query((Ticket){stream, stream->submitted});
  unlock();
  return code;
}

API(INIT, cuStreamWaitEvent, (void *handle, Event *event, unsigned flags), (handle, event, flags)) {
  (void)flags;
  STREAM_OR(INVALID_HANDLE, handle);
  Record *record = record_at((uint64_t)event);
  CUresult code = record && record->kind == EVENT ? SUCCESS : INVALID_HANDLE;
  if (!code && event->recorded && !reached(event->at)) {
    Op *op = op_new(NO_ENGINE, NULL);
    after(op, event->at);
    submit(stream, op);
  }
  unlock();
  return code;
}

API(INIT, cuStreamGetCtx, (void *handle, Context **out), (handle, out)) {
  STREAM_OR(INVALID_HANDLE, handle);
  *out = stream->context;
  unlock();
  return SUCCESS;
}

API(INIT, cuStreamGetFlags, (void *handle, unsigned *out), (handle, out)) {
  STREAM_OR(INVALID_HANDLE, handle);
  *out = stream->flags;
  unlock();
  return SUCCESS;
}

API(INIT, cuStreamGetPriority, (void *handle, int *out), (handle, out)) {
  STREAM_OR(INVALID_HANDLE, handle);
  *out = stream->priority;
  unlock();
  return SUCCESS;
}

API(INIT, cuStreamGetDevice, (void *handle, CUdevice *out), (handle, out)) {
  STREAM_OR(INVALID_HANDLE, handle);
  *out = stream->context->device;
  unlock();
  return SUCCESS;
}

API(INIT, cuStreamGetId, (void *handle, unsigned long long *out), (handle, out)) {
  STREAM_OR(INVALID_HANDLE, handle);
  *out = stream->id;
  unlock();
  return SUCCESS;
}

API(INIT, cuStreamIsCapturing, (void *handle, int *out), (handle, out)) {
  (void)handle;
  *out = 0;
  return SUCCESS;
}

static void call_host(Op *op) { ((void (*)(void *))op->function)(op->argument); }

API(INIT, cuLaunchHostFunc, (void *handle, void *function, void *argument), (handle, function, argument)) {
  STREAM_OR(INVALID_HANDLE, handle);
  Op *op = op_new(HOST, call_host);
  op->function = function;
  op->argument = argument;
  submit(stream, op);
  unlock();
  return SUCCESS;
}

static void call_back(Op *op) {
  ((void (*)(void *, CUresult, void *))op->function)((void *)op->address, SUCCESS, op->argument);
}

API(INIT, cuStreamAddCallback, (void *handle, void *function, void *argument, unsigned flags),
    (handle, function, argument, flags)) {
  (void)flags;
  STREAM_OR(INVALID_HANDLE, handle);
  Op *op = op_new(HOST, call_back);
  op->function = function;
  op->argument = argument;
  op->address = (CUdeviceptr)handle;
  submit(stream, op);
  unlock();
  return SUCCESS;
}

#define EVENT_OR(code, event)                                         \
  Record *record = (lock(), record_at((uint64_t)(event)));            \
  if (!record || record->kind != EVENT) return unlock(), (code)

API(CONTEXT, cuEventCreate, (Event **out, unsigned flags), (out, flags)) {
  Event *event = calloc(1, sizeof *event);
  event->context = current();
  event->flags = flags;
  lock();
  record_add(EVENT, (uint64_t)event, sizeof *event, current());
  unlock();
  *out = event;
  return SUCCESS;
}

API(INIT, cuEventDestroy, (Event * event), (event)) {
  EVENT_OR(INVALID_HANDLE, event);
  record_drop(record);
  unlock();
  return SUCCESS;
}

API(INIT, cuEventRecordWithFlags, (Event * event, void *handle, unsigned flags), (event, handle, flags)) {
  (void)flags;
  EVENT_OR(INVALID_HANDLE, event);
  Stream *stream = stream_of(handle);
  if (!stream || stream->context != event->context) return unlock(), INVALID_HANDLE;
  Op *op = op_new(NO_ENGINE, NULL);
  op->event = event;
  event->recorded = true;
  event->at = (Ticket){stream, stream->submitted + 1};
  submit(stream, op);
  unlock();
  return SUCCESS;
}

API(INIT, cuEventRecord, (Event * event, void *handle), (event, handle)) {
  return cuEventRecordWithFlags_body(event, handle, 0);
}

API(INIT, cuEventQuery, (Event * event), (event)) {
  EVENT_OR(INVALID_HANDLE, event);
  CUresult code = query(event->at);
  unlock();
  return code;
}

API(INIT, cuEventSynchronize, (Event * event), (event)) {
  EVENT_OR(INVALID_HANDLE, event);
  CUresult code = await(event->at);
  unlock();
  return code;
}

API(INIT, cuEventElapsedTime, (float *out, Event *start, Event *end), (out, start, end)) {
  EVENT_OR(INVALID_HANDLE, start);
  record = record_at((uint64_t)end);
  bool bad = !record || record->kind != EVENT || !start->recorded || !end->recorded || ((start->flags | end->flags) & 2);
  CUresult code = bad ? INVALID_HANDLE : reached(start->at) && reached(end->at) ? SUCCESS : NOT_READY;
  if (!code) *out = (float)(1e3 * (end->time - start->time));
  unlock();
  return code;
}

API(CONTEXT, cuCtxSynchronize, (void), ()) {
  lock();
  CUresult code = await_context(current());
  unlock();
  return code;
}
