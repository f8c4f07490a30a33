/* The page: what a test sets and reads, shared with whoever maps it, in this process or another.
 *
 * One page per process and library. With FAKECUDA_DIR set it is the file <pid>.cuda (or <pid>.nvml) there,
 * so that a test can look into a child, release its hangs and read its counters even after it was killed.
 * control.py holds the same layout; `version` and `size` guard against the two drifting apart.
 */
#ifndef FAKECUDA_PAGE_H
#define FAKECUDA_PAGE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { PAGE_VERSION = 2, MAX_DEVICES = 16, LOG_CALLS = 4096, LOG_LAUNCHES = 1024, NAME_BYTES = 48 };

/* Engines serve one operation at a time each, in the order in which operations become ready. */
typedef enum { H2D, D2H, COMPUTE, HOST, ENGINES, NO_ENGINE } Engine;

/* What is counted. POOL is memory from cuMemAllocAsync, MODULE a loaded library. */
typedef enum { DEVICE, PINNED, MAPPED, REGISTERED, MANAGED, POOL, STREAM, EVENT, MODULE, KINDS } Kind;

typedef struct { int64_t live, total; uint64_t bytes, peak; } Counter;

typedef struct {
  char name[NAME_BYTES];
  int32_t result;
  uint32_t thread;
  uint64_t number;
  double when; /* seconds of CLOCK_MONOTONIC, as time.monotonic() */
} Call;

typedef struct {
  char name[256]; /* the beginning of it: mangled names can be longer */
  uint32_t grid[3], block[3], shared;
  int32_t device;
  uint64_t stream, number;
} Launch;

typedef struct {
  uint32_t version, size;
  int32_t pid, devices;

  /* Settings. */
  uint64_t device_bytes, pinned_bytes, pinned_regions;
  double op_seconds[ENGINES];   /* each operation of the engine */
  double unit_seconds[ENGINES]; /* each byte of a copy, each thread of a launch */
  double pin_seconds, pin_byte_seconds;
  double hang_limit; /* seconds after which a hang ends by itself */
  int32_t deferred;  /* nothing lands before somebody waits or asks for it */
  int32_t shared;    /* limits of memory are the host's: what other live processes hold counts too */
  int32_t poison;    /* new memory and destinations of pending copies hold 0xFF bytes: NaN, or -1 */
  int32_t spare;
  int64_t released;  /* add one to end all hangs of this moment */

  /* Findings. */
  int32_t sticky;  /* the error that every later call returns but those that only look, or 0 */
  int32_t hanging; /* calls and operations that hang now */
  int64_t stalls;  /* frees and the like that had to wait for unrelated work */
  Counter counters[KINDS];
  uint64_t device_used[MAX_DEVICES];
  int32_t contexts[MAX_DEVICES];
  int32_t gpus[MAX_DEVICES], migs[MAX_DEVICES]; /* which GPU each visible device is */
  uint64_t calls, launches;
  Call call_log[LOG_CALLS];
  Launch launch_log[LOG_LAUNCHES];
} Page;

extern Page *page;

double now(void);
void sleep_until(double when);
extern pthread_mutex_t page_mutex; /* guards everything in the driver */
void lock(void);
void unlock(void);

/* Map this process's page (once) and read settings, faults and topology from the environment. */
void page_open(const char *suffix, const char *settings, const char *faults);

/* Enter the call in the log. */
void page_log(const char *name, int result);

/* The code that this call of `name` must fail with, after its hang or delay, or 0. */
int fault(const char *name);

/* Replace all faults by those in `text`; false when it cannot be read. Grammar in faults.c. */
bool faults_set(const char *text);

#endif
