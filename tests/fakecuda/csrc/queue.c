/* Streams of operations, and the engines of each device that carry them out.
 *
 * An operation runs once it heads its stream and all that it comes after is done; it lands, in one step, when
 * its time is up. Times are reckoned from the moment an operation became ready, not from when a thread woke up,
 * so waits do not add up. In deferred mode an operation runs only when somebody waits for it or has asked for
 * it; time alone completes nothing.
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "driver.h"

__thread bool inside_operation;

static Stream *streams;
static uint64_t orders, stream_ids;
static bool serving[MAX_DEVICES][ENGINES];

/* Waiters sleep on `landed`, engines on `work`. */
static pthread_cond_t landed = PTHREAD_COND_INITIALIZER, work = PTHREAD_COND_INITIALIZER;

bool reached(Ticket t) { return !t.stream || t.stream->completed >= t.seq; }

static bool demanded(const Op *op) { return !page->deferred || op->seq <= op->stream->demanded; }

Op *op_new(Engine engine, void (*run)(Op *op)) {
  Op *op = calloc(1, sizeof *op);
  op->engine = engine;
  op->run = run;
  return op;
}

static void op_free(Op *op) {
  free(op->after);
  free(op->owned);
  free(op);
}

void after(Op *op, Ticket ticket) {
  if (reached(ticket)) return;
  op->after = realloc(op->after, (size_t)(op->after_count + 1) * sizeof *op->after);
  op->after[op->after_count++] = ticket;
}

/* Out of the list that every scheduling step walks. The structure stays: events may point at it. */
static void unlink_if_over(Stream *stream) {
  if (stream->alive || stream->head) return;
  for (Stream **at = &streams; *at; at = &(*at)->next)
    if (*at == stream) {
      *at = stream->next;
      return;
    }
}

static void complete(Op *op, double when) {
  Stream *stream = op->stream;
  stream->head = op->next;
  if (!stream->head) stream->tail = &stream->head;
  stream->completed = op->seq;
  stream->finished = when;
  if (op->event && op->event->at.stream == stream && op->event->at.seq == op->seq) op->event->time = when;
  op_free(op);
}

/* Whether the head may start; notes the moment from which its time counts. */
static bool make_ready(Op *op) {
  if (op->ready) return true;
  if (!demanded(op)) return false;
  double when = fmax(op->submitted, op->stream->finished);
  for (int i = 0; i < op->after_count; i++) {
    if (!reached(op->after[i])) return false;
    when = fmax(when, op->after[i].stream->finished);
  }
  /* Deferred, an operation begins when it is asked for, else all latencies would be over by then. */
  op->ready_at = page->deferred ? now() : when;
  return op->ready = true;
}

/* Find which operations may start, and pass marks (events, waits) at once: they take no engine. */
void settle(void) {
  for (bool progress = true; progress;) {
    progress = false;
    for (Stream *stream = streams, *next; stream; stream = next) {
      next = stream->next;
      while (stream->head && make_ready(stream->head) && stream->head->engine == NO_ENGINE) {
        Op *op = stream->head;
        if (op->run) op->run(op);
        complete(op, op->ready_at);
        progress = true;
      }
      unlink_if_over(stream);
    }
  }
  pthread_cond_broadcast(&landed);
  pthread_cond_broadcast(&work);
}

/* The ready operation that has waited longest for this engine. */
static Op *next_op(int device, Engine engine) {
  Op *best = NULL;
  for (Stream *stream = streams; stream; stream = stream->next) {
    Op *op = stream->head;
    if (!op || !op->ready || op->running || op->engine != engine || stream->context->device != device) continue;
    if (!best || op->ready_at < best->ready_at || (op->ready_at == best->ready_at && op->order < best->order))
      best = op;
  }
  return best;
}

static double duration(const Op *op) {
  return page->op_seconds[op->engine] + op->units * page->unit_seconds[op->engine];
}

/* Called without the lock: an operation may take its time, hang, or call back into Python. */
static void carry_out(Op *op) {
  int code = op->fault ? fault(op->fault) : 0;
  if (code) {
    lock();
    page->sticky = code;
    unlock();
  }
  if (page->sticky) return;
  inside_operation = true;
  op->run(op);
  inside_operation = false;
}

static void *serve(void *place) {
  int device = (int)((intptr_t)place / ENGINES);
  Engine engine = (Engine)((intptr_t)place % ENGINES);
  double free_at = 0;
  lock();
  for (;;) {
    Op *op = next_op(device, engine);
    if (!op) {
      pthread_cond_wait(&work, &page_mutex);
      continue;
    }
    op->running = true;
    free_at = fmax(op->ready_at, free_at) + duration(op);
    unlock();
    if (free_at > now()) sleep_until(free_at);
    carry_out(op);
    lock();
    if (op->measured || page->deferred) free_at = fmax(free_at, now());
    complete(op, free_at);
    settle();
  }
  return NULL;
}

static void start_engine(int device, Engine engine) {
  if (engine == NO_ENGINE || serving[device][engine]) return;
  pthread_t thread;
  serving[device][engine] = true;
  pthread_create(&thread, NULL, serve, (void *)(intptr_t)(device * ENGINES + (int)engine));
  pthread_detach(thread);
}

/* The legacy default stream and the blocking streams of its context wait for each other. */
static void order_default_stream(Op *op) {
  Stream *own = op->stream, *legacy = own->context->legacy;
  if (own != legacy) {
    if (!(own->flags & 1) && legacy) after(op, (Ticket){legacy, legacy->submitted});
    return;
  }
  for (Stream *s = streams; s; s = s->next)
    if (s != own && s->context == own->context && !(s->flags & 1)) after(op, (Ticket){s, s->submitted});
}

/* With the lock held. */
Ticket submit(Stream *stream, Op *op) {
  op->stream = stream;
  op->seq = ++stream->submitted;
  op->order = ++orders;
  op->submitted = now();
  order_default_stream(op);
  *stream->tail = op;
  stream->tail = &op->next;
  start_engine(stream->context->device, op->engine);
  Ticket ticket = {stream, op->seq};
  settle();
  return ticket;
}

/* Allow everything up to the ticket, and what that comes after, to run. Ends, as these were all submitted before. */
void demand(Ticket t) {
  if (reached(t) || t.stream->demanded >= t.seq) return;
  t.stream->demanded = t.seq;
  for (Op *op = t.stream->head; op && op->seq <= t.seq; op = op->next)
    for (int i = 0; i < op->after_count; i++) demand(op->after[i]);
}

/* Allow one more operation on the way to the ticket: what a poller brings about in deferred mode. Marks cost
 * nothing, so an idle stream is seen to be idle at once. */
static void nudge(Ticket t) {
  for (Op *op = t.stream->head; op && op->seq <= t.seq; op = op->next) {
    for (int i = 0; i < op->after_count; i++)
      if (!reached(op->after[i])) return nudge(op->after[i]);
    if (t.stream->demanded < op->seq) t.stream->demanded = op->seq;
    if (op->engine != NO_ENGINE) return;
  }
}

/* With the lock held; gives it up while it waits. */
CUresult await(Ticket t) {
  demand(t);
  settle();
  while (!reached(t)) pthread_cond_wait(&landed, &page_mutex);
  return page->sticky;
}

CUresult await_context(Context *context) {
  for (Stream *s = streams; s; s = s->next)
    if (s->context == context) {
      CUresult code = await((Ticket){s, s->submitted});
      if (code) return code;
    }
  return page->sticky;
}

CUresult query(Ticket t) {
  if (reached(t)) return SUCCESS;
  if (!page->deferred) return NOT_READY;
  nudge(t);
  settle();
  return reached(t) ? SUCCESS : NOT_READY;
}

/* Whether an operation that has not landed reads or writes this range. */
bool pending_on(uint64_t address, size_t size) {
  for (Stream *s = streams; s; s = s->next)
    for (Op *op = s->head; op; op = op->next) {
      uint64_t to = (uint64_t)op->to, from = (uint64_t)op->from;
      if (to && to < address + size && address < to + op->size) return true;
      if (from && from < address + size && address < from + op->size) return true;
    }
  return false;
}

Stream *stream_new(Context *context, unsigned flags, int priority) {
  Stream *stream = calloc(1, sizeof *stream);
  *stream = (Stream){.context = context, .flags = flags, .priority = priority, .alive = true, .id = ++stream_ids};
  stream->tail = &stream->head;
  stream->next = streams;
  streams = stream;
  return stream;
}

/* Handles 0 and 1 are the legacy default stream of the current context, 2 the calling thread's own. */
Stream *stream_of(void *handle) {
  static __thread Stream *own[MAX_DEVICES];
  Context *context = current();
  if ((uintptr_t)handle > 2) {
    Record *record = record_at((uint64_t)handle);
    return record && record->kind == STREAM ? handle : NULL;
  }
  if (!context) return NULL;
  if ((uintptr_t)handle == 2) {
    Stream **mine = &own[context->device];
    if (!*mine || (*mine)->context != context) *mine = stream_new(context, 0, 0);
    return *mine;
  }
  if (!context->legacy) context->legacy = stream_new(context, 0, 0);
  return context->legacy;
}

void streams_drop(Context *context) {
  for (Stream *s = streams; s; s = s->next)
    if (s->context == context) s->alive = false;
  context->legacy = NULL;
}
