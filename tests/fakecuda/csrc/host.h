/* The other processes of this imagined host: those with a page in FAKECUDA_DIR. */
#ifndef FAKECUDA_HOST_H
#define FAKECUDA_HOST_H

#include "page.h"

/* Visit the pages of all live processes that have loaded the fake driver, this one included. */
void host_pages(void (*visit)(const Page *page, void *told), void *told);

typedef struct { uint64_t device, pinned, regions; } Held;

/* What others hold of the device that is `gpu` and `mig`, and of page-locked memory; nothing unless `shared` is
 * set. Between the two calls nobody else on the host takes any. */
Held host_enter(int gpu, int mig);
void host_leave(void);

#endif
