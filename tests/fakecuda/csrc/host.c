/* Looking at the pages of other processes. */
#define _GNU_SOURCE
#include "host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void visit_page(const char *path, void (*visit)(const Page *page, void *told), void *told) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  const Page *other = mmap(NULL, sizeof *other, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (other == MAP_FAILED) return;
  bool alive = other->version == PAGE_VERSION && !(kill(other->pid, 0) && errno == ESRCH);
  if (alive) visit(other, told);
  munmap((void *)other, sizeof *other);
}

void host_pages(void (*visit)(const Page *page, void *told), void *told) {
  const char *folder = getenv("FAKECUDA_DIR");
  DIR *entries = folder ? opendir(folder) : NULL;
  for (struct dirent *entry; entries && (entry = readdir(entries));) {
    char path[4096];
    if (!strstr(entry->d_name, ".cuda")) continue;
    snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    visit_page(path, visit, told);
  }
  if (entries) closedir(entries);
}

typedef struct { int gpu, mig; Held held; } Search;

static void add(const Page *other, void *told) {
  Search *search = told;
  if (other->pid == page->pid) return;
  for (int i = 0; i < other->devices; i++)
    if (other->gpus[i] == search->gpu && other->migs[i] == search->mig) search->held.device += other->device_used[i];
  for (Kind kind = PINNED; kind <= REGISTERED; kind++) {
    search->held.pinned += other->counters[kind].bytes;
    search->held.regions += (uint64_t)other->counters[kind].live;
  }
}

static int entered = -1;

/* By a lock of the process, which a forked child does not inherit and the kernel takes back at its end. */
static void enter(void) {
  char path[4096];
  struct flock whole = {.l_type = F_WRLCK};
  snprintf(path, sizeof path, "%s/host.lock", getenv("FAKECUDA_DIR"));
  entered = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  while (entered >= 0 && fcntl(entered, F_SETLKW, &whole) && errno == EINTR) continue;
}

Held host_enter(int gpu, int mig) {
  Search search = {.gpu = gpu, .mig = mig};
  if (!page->shared || !getenv("FAKECUDA_DIR")) return search.held;
  enter();
  host_pages(add, &search);
  return search.held;
}

void host_leave(void) {
  if (entered >= 0) close(entered);
  entered = -1;
}
