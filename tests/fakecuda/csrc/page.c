/* The page, its settings and its call log. Shared by the fake driver and the fake NVML. */
#define _GNU_SOURCE
#include "page.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

Page *page;

pthread_mutex_t page_mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *page_suffix;

double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void sleep_until(double when) {
  struct timespec t = {(time_t)when, (long)(1e9 * (when - floor(when)))};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) continue;
}

void lock(void) { pthread_mutex_lock(&page_mutex); }
void unlock(void) { pthread_mutex_unlock(&page_mutex); }

typedef enum { AMOUNT, SECONDS, FLAG } Type;
#define FIELD(type, field) {#field, type, offsetof(Page, field)}
#define ENGINE(name, engine)                                                                \
  {#name "_seconds", SECONDS, offsetof(Page, op_seconds) + (engine) * sizeof(double)},     \
      {#name "_unit_seconds", SECONDS, offsetof(Page, unit_seconds) + (engine) * sizeof(double)}
static const struct { const char *name; Type type; size_t offset; } settings_known[] = {
    FIELD(AMOUNT, device_bytes), FIELD(AMOUNT, pinned_bytes), FIELD(AMOUNT, pinned_regions),
    FIELD(SECONDS, pin_seconds), FIELD(SECONDS, pin_byte_seconds), FIELD(SECONDS, hang_limit),
    FIELD(FLAG, deferred), FIELD(FLAG, shared), FIELD(FLAG, poison),
    ENGINE(h2d, H2D), ENGINE(d2h, D2H), ENGINE(compute, COMPUTE), ENGINE(host, HOST),
};

static void settings_defaults(void) {
  page->device_bytes = 1ull << 30;
  page->pinned_bytes = 1ull << 30;
  page->pinned_regions = 65536;
  page->hang_limit = 60;
  page->poison = 1;
}

static bool setting(const char *name, const char *value) {
  for (size_t i = 0; i < sizeof settings_known / sizeof *settings_known; i++) {
    if (strcmp(settings_known[i].name, name)) continue;
    char *at = (char *)page + settings_known[i].offset;
    if (settings_known[i].type == AMOUNT) *(uint64_t *)at = strtoull(value, NULL, 10);
    if (settings_known[i].type == SECONDS) *(double *)at = strtod(value, NULL);
    if (settings_known[i].type == FLAG) *(int32_t *)at = atoi(value);
    return true;
  }
  return false;
}

/* "name=value name=value"; a name that does not exist ends the process: a misspelt setting must not pass. */
static void settings_read(const char *text) {
  char *copy = strdup(text ? text : ""), *rest = NULL;
  for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
    char *value = strchr(word, '=');
    if (value) *value++ = 0;
    if (!value || !setting(word, value)) {
      fprintf(stderr, "FakeCUDA: no setting '%s'\n", word);
      _exit(70);
    }
  }
  free(copy);
}

static int page_file(void) {
  const char *folder = getenv("FAKECUDA_DIR");
  if (!folder || !*folder) return -1;
  char path[4096];
  snprintf(path, sizeof path, "%s/%d.%s", folder, (int)getpid(), page_suffix);
  int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* pids come round again */
  if (file >= 0 && ftruncate(file, sizeof(Page))) {
    close(file);
    return -1;
  }
  return file;
}

static Page *page_map(void *where) {
  int file = page_file();
  int flags = (file < 0 ? MAP_ANONYMOUS | MAP_PRIVATE : MAP_SHARED) | (where ? MAP_FIXED : 0);
  void *at = mmap(where, sizeof(Page), PROT_READ | PROT_WRITE, flags, file, 0);
  if (file >= 0) close(file);
  if (at == MAP_FAILED) abort();
  return at;
}

/* A forked child must not write into its parent's page: it goes on with a copy of its own, at the same address. The
 * copy is taken before the fork, since the parent goes on at once. */
static Page *snapshot;

static void before_fork(void) {
  lock();
  snapshot = malloc(sizeof *snapshot);
  if (!snapshot) abort();
  memcpy(snapshot, page, sizeof *snapshot);
}

static void after_fork_in_parent(void) {
  free(snapshot);
  unlock();
}

static void after_fork_in_child(void) {
  pthread_mutex_init(&page_mutex, NULL);
  page_map(page);
  memcpy(page, snapshot, sizeof *snapshot);
  free(snapshot);
  page->pid = getpid();
}

void page_open(const char *suffix, const char *settings, const char *faults) {
  page_suffix = suffix;
  page = page_map(NULL);
  settings_defaults();
  settings_read(getenv(settings));
  page->pid = getpid();
  page->size = sizeof *page;
  page->version = PAGE_VERSION; /* last: a reader takes a page without version for unfinished */
  const char *text = getenv(faults);
  if (!faults_set(text ? text : "")) {
    fprintf(stderr, "FakeCUDA: cannot read %s='%s'\n", faults, text);
    _exit(70);
  }
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void page_log(const char *name, int result) {
  lock();
  Call *call = &page->call_log[page->calls % LOG_CALLS];
  snprintf(call->name, sizeof call->name, "%s", name);
  call->result = result;
  call->thread = (uint32_t)gettid();
  call->when = now();
  call->number = ++page->calls;
  unlock();
}
