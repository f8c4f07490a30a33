/* Which calls fail, hang or dawdle.
 *
 * "NAME:WHICH[:ACTION...]", several with spaces between. NAME is a function without version suffix, or
 * "kernel" and "copy" for operations, whose failure is seen only later and is sticky. WHICH is 3 (the third
 * call), 3-5, or 3- (from the third on). ACTION is a result code, "sticky" (every call after this one fails
 * with the code too), "hang", or "slow=SECONDS".
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

typedef struct { char name[NAME_BYTES]; uint64_t first, last, seen; int code; bool sticky, hang; double slow; } Fault;
static Fault faults[64];
static int fault_count;

static bool fault_action(Fault *f, const char *text) {
  char *end;
  if (!strcmp(text, "sticky")) return f->sticky = true;
  if (!strcmp(text, "hang")) return f->hang = true;
  if (!strncmp(text, "slow=", 5)) {
    f->slow = strtod(text + 5, &end);
    return !*end;
  }
  f->code = (int)strtol(text, &end, 10);
  return *text && !*end;
}

static bool fault_which(Fault *f, const char *text) {
  char *end;
  f->first = f->last = strtoull(text, &end, 10);
  if (*end == '-') f->last = end[1] ? strtoull(end + 1, &end, 10) : UINT64_MAX;
  return f->first > 0 && f->last >= f->first;
}

static bool fault_parse(char *text, Fault *f) {
  char *rest = NULL, *name = strtok_r(text, ":", &rest), *which = strtok_r(NULL, ":", &rest);
  memset(f, 0, sizeof *f);
  if (!name || !which || !fault_which(f, which)) return false;
  snprintf(f->name, sizeof f->name, "%s", name);
  for (char *action = strtok_r(NULL, ":", &rest); action; action = strtok_r(NULL, ":", &rest))
    if (!fault_action(f, action)) return false;
  return f->code || f->hang || f->slow > 0;
}

bool faults_set(const char *text) {
  char *copy = strdup(text), *rest = NULL;
  Fault parsed[64];
  int count = 0;
  bool good = true;
  for (char *word = strtok_r(copy, " ", &rest); word && good; word = strtok_r(NULL, " ", &rest))
    good = count < 64 && fault_parse(word, &parsed[count++]);
  free(copy);
  if (!good) return false;
  lock();
  memcpy(faults, parsed, sizeof(Fault) * (size_t)count);
  fault_count = count;
  unlock();
  return true;
}

/* Polls, because the release may come from another process. */
static void hang(void) {
  int64_t generation = page->released;
  double end = now() + page->hang_limit;
  __atomic_add_fetch(&page->hanging, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&page->released, __ATOMIC_SEQ_CST) == generation && now() < end)
    sleep_until(now() + 0.001);
  __atomic_sub_fetch(&page->hanging, 1, __ATOMIC_SEQ_CST);
}

int fault(const char *name) {
  Fault hit = {0};
  lock();
  for (int i = 0; i < fault_count; i++) {
    Fault *f = &faults[i];
    if (strcmp(f->name, name) || ++f->seen < f->first || f->seen > f->last) continue;
    hit = *f;
    break;
  }
  if (hit.sticky) page->sticky = hit.code;
  unlock();
  if (hit.slow > 0) sleep_until(now() + hit.slow);
  if (hit.hang) hang();
  return hit.code;
}
