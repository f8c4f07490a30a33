/* What the parts of the fake driver share. The ABI is CUDA 13's newest: cuMemAlloc means cuMemAlloc_v2. */
#ifndef FAKECUDA_DRIVER_H
#define FAKECUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "page.h"
#include "topology.h"

typedef int CUresult;
typedef int CUdevice;
typedef uint64_t CUdeviceptr;

enum {
  SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, DEVICE_UNAVAILABLE = 46,
  NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, PEER_ACCESS_UNSUPPORTED = 217,
  INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, LAUNCH_OUT_OF_RESOURCES = 701, ALREADY_REGISTERED = 712,
  NOT_REGISTERED = 713, LAUNCH_FAILED = 719, NOT_PERMITTED = 800, NOT_SUPPORTED = 801, DRIVER_MISMATCH = 803,
};

enum { DRIVER_VERSION = 13000 };

/* What a function needs before its body runs. One that only LOOKs works on after a sticky error. */
typedef enum { NOTHING, LOOK, INIT, CONTEXT } Need;

typedef struct { const char *name; void *function; } Symbol;

CUresult call_begin(const char *name, Need need);
CUresult call_end(const char *name, CUresult code);

/* Define a driver function: log, forking, faults, sticky errors and the context are seen to before its body.
 * The linker gathers the symbols into the table from which cuGetProcAddress answers. */
#define API(need, name, params, args)                                                     \
  static CUresult name##_body params;                                                     \
  __attribute__((visibility("default"))) CUresult name params;                            \
  CUresult name params {                                                                  \
    CUresult begun_ = call_begin(#name, need);                                            \
    return call_end(#name, begun_ ? begun_ : name##_body args);                           \
  }                                                                                       \
  static const Symbol name##_symbol = {#name, (void *)name};                              \
  static const Symbol *const name##_entry __attribute__((used, section("api"))) = &name##_symbol; \
  static CUresult name##_body params

#define EXPORT __attribute__((visibility("default")))

typedef struct Context Context;
typedef struct Stream Stream;
typedef struct Event Event;
typedef struct Op Op;

/* A point in a stream: reached once `stream` has completed `seq` operations. */
typedef struct { Stream *stream; uint64_t seq; } Ticket;

struct Context {
  int device;
  bool primary, alive;
  uint64_t id;
  int retained;
  Stream *legacy;
};

struct Stream {
  Stream *next;
  Context *context;
  unsigned flags;
  int priority;
  bool alive;
  uint64_t id, submitted, completed;
  uint64_t demanded; /* in deferred mode, operations up to here may run */
  double finished;   /* when the last completed operation ended */
  Op *head, **tail;
};

struct Event {
  Context *context;
  unsigned flags;
  bool recorded;
  Ticket at;
  double time;
};

struct Op {
  Op *next;
  Stream *stream;
  uint64_t seq, order;
  Engine engine;
  const char *fault; /* the name under which it can be made to fail, or NULL */
  Ticket *after;
  int after_count;
  bool running, ready;
  double submitted, ready_at, units;
  bool measured; /* its own running time counts: a kernel with a body */
  void (*run)(Op *op);
  /* What `run` works on. */
  Event *event;
  char *to;
  const char *from;
  size_t size, pitch;
  void *owned; /* freed with the operation */
  void *function, *argument;
  CUdeviceptr address;
};

/* An allocation or a handle; found by any address inside it. */
typedef struct {
  uint64_t address;
  size_t size;
  Kind kind;
  Context *context;
  void *backing; /* where device memory really lies; the address itself cannot be read by the host */
  unsigned flags;
  uint64_t id;
  uint64_t *pool_used; /* of the pool it came from */
} Record;

/* records.c: all of these with the lock held. */
Record *record_add(Kind kind, uint64_t address, size_t size, Context *context);
Record *record_at(uint64_t address);
Record *record_in(uint64_t address, size_t size);
void record_drop(Record *record);
void records_of(Context *context, void (*visit)(Record *record));

/* memory.c */
void *host_view(uint64_t address);
void memory_release(Record *record);
bool reachable(uint64_t address, size_t size);
CUresult device_memory_new(Kind kind, size_t size, Context *context, Record **out);

/* device.c and context.c */
extern Visible visible[MAX_DEVICES];
bool no_device(CUdevice device);
Context *primary_of(CUdevice device);
Context *current(void);
extern int device_count;

/* queue.c: all but op_new with the lock held; await gives it up while it waits. */
extern __thread bool inside_operation;
Op *op_new(Engine engine, void (*run)(Op *op));
void after(Op *op, Ticket ticket);
Ticket submit(Stream *stream, Op *op);
bool reached(Ticket ticket);
void demand(Ticket ticket);
void settle(void);
CUresult query(Ticket ticket);
CUresult await(Ticket ticket);
CUresult await_context(Context *context);
bool pending_on(uint64_t address, size_t size);
Stream *stream_new(Context *context, unsigned flags, int priority);
Stream *stream_of(void *handle);
void streams_drop(Context *context);

#endif
