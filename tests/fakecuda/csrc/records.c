/* The registry of everything that has an address, and the exact counts kept of it. */
#define _GNU_SOURCE
#include <search.h>
#include <stdlib.h>

#include "driver.h"

static void *tree;
static uint64_t ids;

/* Ranges that overlap compare equal, so that looking up an address finds the range around it. */
static int compare(const void *a, const void *b) {
  const Record *x = a, *y = b;
  if (x->address + x->size <= y->address) return -1;
  return x->address >= y->address + y->size;
}

static void count(const Record *record, size_t bytes, int sign) {
  Counter *counter = &page->counters[record->kind];
  counter->live += sign;
  counter->bytes += sign > 0 ? bytes : -bytes;
  if (sign > 0) counter->total++;
  if (counter->bytes > counter->peak) counter->peak = counter->bytes;
  bool device = record->kind == DEVICE || record->kind == MANAGED || record->kind == POOL;
  if (device) page->device_used[record->context->device] += sign > 0 ? bytes : -bytes;
}

static size_t counted(const Record *record) { return record->kind >= STREAM ? 0 : record->size; }

Record *record_add(Kind kind, uint64_t address, size_t size, Context *context) {
  Record *record = calloc(1, sizeof *record);
  *record = (Record){.address = address, .size = size, .kind = kind, .context = context, .id = ++ids};
  tsearch(record, &tree, compare);
  count(record, counted(record), 1);
  return record;
}

Record *record_in(uint64_t address, size_t size) {
  Record key = {.address = address, .size = size};
  Record **found = tfind(&key, &tree, compare);
  return found ? *found : NULL;
}

Record *record_at(uint64_t address) {
  Record *record = record_in(address, 1);
  return record && record->address == address ? record : NULL;
}

void record_drop(Record *record) {
  if (record->pool_used) *record->pool_used -= record->size;
  count(record, counted(record), -1);
  tdelete(record, &tree, compare);
  free(record);
}

static Context *wanted;
static Record **gathered;
static size_t gathered_count;

static void gather(const void *node, VISIT which, int depth) {
  (void)depth;
  Record *record = *(Record *const *)node;
  if ((which != postorder && which != leaf) || record->context != wanted) return;
  gathered = realloc(gathered, (gathered_count + 1) * sizeof *gathered);
  gathered[gathered_count++] = record;
}

/* Gathers first: a visitor may drop what it is shown, and the tree must not change while it is walked. */
void records_of(Context *context, void (*visit)(Record *record)) {
  wanted = context;
  gathered_count = 0;
  twalk(tree, gather);
  for (size_t i = 0; i < gathered_count; i++) visit(gathered[i]);
}
