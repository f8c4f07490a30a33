/* Kernels and globals of a cubin or of PTX: names, parameters, registers, sizes.
 *
 * A cubin says of each kernel, in `.nv.info.<kernel>`, where its parameters lie and how long they are. That lets a
 * launch copy its arguments without knowing who compiled it.
 */
#define _GNU_SOURCE
#include "image.h"

#include <ctype.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

/* Attributes of .nv.info, and the mark of kernels among symbols. */
enum { SIZED = 4, ENTRY = 0x10, MAX_THREADS = 0x05, FRAME_SIZE = 0x11, PARAMETER = 0x17, REGISTERS = 0x2f };

static Kernel *kernel_new(Image *image, const char *name, size_t length) {
  Kernel *kernel = calloc(1, sizeof *kernel);
  kernel->name = strndup(name, length);
  kernel->max_threads = 1024;
  kernel->next = image->kernels;
  return image->kernels = kernel;
}

static Kernel *kernel_named(const Image *image, const char *name) {
  for (Kernel *k = image->kernels; k; k = k->next)
    if (!strcmp(k->name, name)) return k;
  return NULL;
}

typedef struct {
  const char *base;
  const Elf64_Ehdr *header;
  const Elf64_Shdr *sections;
  const char *names;
} Elf;

static Elf elf_of(const void *data) {
  Elf elf = {.base = data, .header = data};
  elf.sections = (const Elf64_Shdr *)(elf.base + elf.header->e_shoff);
  elf.names = elf.base + elf.sections[elf.header->e_shstrndx].sh_offset;
  return elf;
}

static const char *after_prefix(const char *text, const char *prefix) {
  size_t n = strlen(prefix);
  return strncmp(text, prefix, n) ? NULL : text + n;
}

static const Elf64_Shdr *symbols_of(Elf elf) {
  for (int i = 0; i < elf.header->e_shnum; i++)
    if (elf.sections[i].sh_type == SHT_SYMTAB) return &elf.sections[i];
  return NULL;
}

/* Walk the attributes of an info section; those with a size carry `words`. */
static void each_attribute(Elf elf, const Elf64_Shdr *s, void *owner,
                           void (*visit)(void *owner, int attribute, const uint32_t *words)) {
  const unsigned char *at = (const unsigned char *)elf.base + s->sh_offset, *end = at + s->sh_size;
  while (at + 4 <= end) {
    size_t size = at[0] == SIZED ? (size_t)(at[2] | at[3] << 8) : 0;
    if (at[0] == SIZED) visit(owner, at[1], (const uint32_t *)(at + 4));
    at += 4 + size;
  }
}

static void kernel_attribute(void *owner, int attribute, const uint32_t *words) {
  Kernel *kernel = owner;
  if (attribute == MAX_THREADS) kernel->max_threads = (int)(words[0] * words[1] * words[2]);
  uint32_t ordinal = words[1] & 0xffff;
  if (attribute != PARAMETER || ordinal >= MAX_PARAMETERS) return;
  kernel->offsets[ordinal] = words[1] >> 16;
  kernel->sizes[ordinal] = words[2] >> 18;
  if ((int)ordinal >= kernel->count) kernel->count = (int)ordinal + 1;
}

typedef struct { Elf elf; Image *image; } Reading;

static const char *symbol_name(Elf elf, const Elf64_Shdr *table, const Elf64_Sym *symbol) {
  return elf.base + elf.sections[table->sh_link].sh_offset + symbol->st_name;
}

/* The section for the whole file names kernels by symbol number. */
static void file_attribute(void *owner, int attribute, const uint32_t *words) {
  Reading *reading = owner;
  if (attribute != REGISTERS && attribute != FRAME_SIZE) return;
  const Elf64_Shdr *table = symbols_of(reading->elf);
  const Elf64_Sym *symbol = (const Elf64_Sym *)(reading->elf.base + table->sh_offset) + words[0];
  Kernel *kernel = kernel_named(reading->image, symbol_name(reading->elf, table, symbol));
  if (kernel && attribute == REGISTERS) kernel->registers = (int)words[1];
  if (kernel && attribute == FRAME_SIZE) kernel->local = (int)words[1];
}

static void global_new(Elf elf, const Elf64_Sym *symbol, const char *name, Image *image) {
  const Elf64_Shdr *home = &elf.sections[symbol->st_shndx];
  Global *global = calloc(1, sizeof *global);
  global->name = strdup(name);
  global->size = symbol->st_size;
  if (home->sh_type != SHT_NOBITS) global->contents = elf.base + home->sh_offset + symbol->st_value;
  global->next = image->globals;
  image->globals = global;
}

/* Functions that are marked as entries are kernels; objects that lie in a section of this file are globals. */
static void read_symbols(Elf elf, const Elf64_Shdr *table, Image *image) {
  const Elf64_Sym *symbol = (const Elf64_Sym *)(elf.base + table->sh_offset);
  for (size_t n = table->sh_size / sizeof *symbol; n; n--, symbol++) {
    const char *name = symbol_name(elf, table, symbol);
    int type = ELF64_ST_TYPE(symbol->st_info);
    if (type == STT_FUNC && symbol->st_other & ENTRY) kernel_new(image, name, strlen(name));
    if (type == STT_OBJECT && symbol->st_shndx && symbol->st_shndx < elf.header->e_shnum)
      global_new(elf, symbol, name, image);
  }
}

static void read_cubin(const void *data, Image *image) {
  Elf elf = elf_of(data);
  int constant = 0, reserved = 0;
  const Elf64_Shdr *table = symbols_of(elf);
  if (!table) return;
  read_symbols(elf, table, image);
  for (int i = 0; i < elf.header->e_shnum; i++) {
    const Elf64_Shdr *s = &elf.sections[i];
    const char *name = elf.names + s->sh_name, *owner;
    Kernel *kernel;
    if (!strcmp(name, ".nv.info")) each_attribute(elf, s, &(Reading){elf, image}, file_attribute);
    if (!strcmp(name, ".nv.constant3")) constant = (int)s->sh_size;
    if (!strcmp(name, ".nv.shared.reserved.0")) reserved = 1024; /* the system's share, from compute capability 9.0 */
    if ((owner = after_prefix(name, ".nv.info.")) && (kernel = kernel_named(image, owner)))
      each_attribute(elf, s, kernel, kernel_attribute);
    if ((owner = after_prefix(name, ".nv.shared.")) && (kernel = kernel_named(image, owner)))
      kernel->shared = (int)s->sh_size;
  }
  for (Kernel *k = image->kernels; k; k = k->next) {
    k->constant = constant;
    if (k->shared > reserved) k->shared -= reserved;
  }
}

/* ".u64" is 8 bytes; an array says how many elements behind its name. */
static uint32_t ptx_bytes(const char *declaration, const char *end) {
  uint32_t size = 0;
  for (const char *at = declaration; at < end; at++)
    if (*at == '.' && strchr("bsuf", at[1]) && isdigit((unsigned char)at[2])) size = (uint32_t)atoi(at + 2) / 8;
  const char *bracket = memchr(declaration, '[', (size_t)(end - declaration));
  return bracket ? size * (uint32_t)atoi(bracket + 1) : size;
}

static void read_ptx(const char *text, Image *image) {
  for (const char *at = text; (at = strstr(at, ".entry")); ) {
    at += strcspn(at, " \t\n");
    at += strspn(at, " \t\n");
    size_t length = strcspn(at, "( \t\n");
    Kernel *kernel = kernel_new(image, at, length);
    const char *body = strchr(at, '{'), *end = body ? body : at + strlen(at);
    uint32_t offset = 0;
    for (const char *p = at; (p = strstr(p, ".param")) && p < end && kernel->count < MAX_PARAMETERS;) {
      p += strlen(".param");
      uint32_t size = ptx_bytes(p, p + strcspn(p, ",){"));
      if (!size) continue;
      offset = (offset + size - 1) / size * size;
      kernel->offsets[kernel->count] = offset;
      kernel->sizes[kernel->count++] = size;
      offset += size;
    }
    kernel->registers = 16;
    at = end;
  }
}

static bool is_text(const char *data) {
  data += strspn(data, " \t\r\n");
  return !strncmp(data, "//", 2) || !strncmp(data, ".version", 8);
}

size_t image_size(const void *data) {
  if (memcmp(data, ELFMAG, SELFMAG)) return is_text(data) ? strlen(data) + 1 : 0;
  Elf elf = elf_of(data);
  size_t end = elf.header->e_shoff + (size_t)elf.header->e_shnum * sizeof(Elf64_Shdr);
  size_t segments = elf.header->e_phoff + (size_t)elf.header->e_phnum * sizeof(Elf64_Phdr);
  if (segments > end) end = segments;
  for (int i = 0; i < elf.header->e_shnum; i++) {
    const Elf64_Shdr *s = &elf.sections[i];
    if (s->sh_type != SHT_NOBITS && s->sh_offset + s->sh_size > end) end = s->sh_offset + s->sh_size;
  }
  return end;
}

bool image_read(const void *data, Image *image) {
  *image = (Image){0};
  if (!memcmp(data, ELFMAG, SELFMAG)) return read_cubin(data, image), true;
  return is_text(data) ? (read_ptx(data, image), true) : false;
}
