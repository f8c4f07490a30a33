/* Reading kernels and global symbols from what a compiler produced. */
#ifndef FAKECUDA_IMAGE_H
#define FAKECUDA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAX_PARAMETERS = 512 };

typedef struct Kernel {
  struct Kernel *next;
  void *library;
  char *name;
  int registers, local, shared, constant, max_threads, dynamic_shared;
  int count;
  uint32_t offsets[MAX_PARAMETERS], sizes[MAX_PARAMETERS];
} Kernel;

typedef struct Global {
  struct Global *next;
  char *name;
  size_t size;
  const void *contents; /* NULL: zeros */
  uint64_t address;     /* where it was put, once somebody asked */
} Global;

typedef struct { Kernel *kernels; Global *globals; } Image;

/* Read a cubin (an ELF file) or PTX text; false when it is neither. The contents of globals point into `data`. */
bool image_read(const void *data, Image *image);

/* Bytes of a cubin or PTX text, 0 for anything else. */
size_t image_size(const void *data);

#endif
