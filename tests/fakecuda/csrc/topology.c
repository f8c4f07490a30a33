/* Which GPUs there are: read from the environment, alike for the driver and NVML. */
#include "topology.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "page.h"

/* The number at place `index` of a comma-separated list, 0 beyond its end. */
static int listed(const char *variable, int index) {
  const char *text = getenv(variable);
  for (; text && *text && index; index--) {
    text = strchr(text, ',');
    if (text) text++;
  }
  return text ? atoi(text) : 0;
}

int gpu_count(void) {
  const char *text = getenv("FAKECUDA_DEVICES");
  int count = text && *text ? atoi(text) : 1;
  return count < MAX_DEVICES ? count : MAX_DEVICES;
}

int gpu_mode(int gpu) { return listed("FAKECUDA_MODES", gpu); }
int gpu_mig(int gpu) { return listed("FAKECUDA_MIG", gpu); }

void gpu_uuid_bytes(int gpu, int mig, unsigned char bytes[16]) {
  memset(bytes, 0, 16);
  memcpy(bytes, "\xfa\x4e\xcd\xa0", 4);
  bytes[3] = (unsigned char)gpu; /* early, so that a short prefix tells devices apart */
  bytes[15] = (unsigned char)(mig + 1);
}

void gpu_uuid_text(int gpu, int mig, char text[UUID_TEXT]) {
  unsigned char b[16];
  gpu_uuid_bytes(gpu, mig, b);
  int n = snprintf(text, UUID_TEXT, "%s-", mig < 0 ? "GPU" : "MIG");
  for (int i = 0; i < 16; i++)
    n += snprintf(text + n, UUID_TEXT - (size_t)n, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
}

/* A GPU with MIG on is no device for CUDA; its instances are. */
static int candidates(Visible *found) {
  int n = 0;
  for (int gpu = 0; gpu < gpu_count(); gpu++) {
    int instances = gpu_mig(gpu);
    for (int mig = instances ? 0 : -1; mig < instances && n < MAX_DEVICES; mig++) found[n++] = (Visible){gpu, mig};
  }
  return n;
}

/* Index of the device that one entry names, or -1: a UUID may be shortened as long as it is unique. */
static int named(const char *entry, const Visible *all, int count) {
  if (strncmp(entry, "GPU-", 4) && strncmp(entry, "MIG-", 4)) {
    char *end;
    long index = strtol(entry, &end, 10);
    return end != entry && index >= 0 && index < count ? (int)index : -1;
  }
  int match = -1;
  for (int i = 0; i < count; i++) {
    char text[UUID_TEXT];
    gpu_uuid_text(all[i].gpu, all[i].mig, text);
    if (strncmp(text, entry, strlen(entry))) continue;
    if (match >= 0) return -1;
    match = i;
  }
  return match;
}

/* As the driver reads it: the first invalid entry ends the list, a repeated one empties it, and only one
 * MIG instance can be seen. */
int gpu_visible(Visible *found, int room) {
  Visible all[MAX_DEVICES];
  int count = candidates(all), n = 0;
  const char *text = getenv("CUDA_VISIBLE_DEVICES");
  bool used[MAX_DEVICES] = {false}, mig = false;
  char *copy = text ? strdup(text) : NULL, *rest = NULL, *entry = copy ? strtok_r(copy, ",", &rest) : NULL;
  for (int i = 0; text ? entry != NULL : i < count; i++) {
    int index = text ? named(entry, all, count) : i;
    if (index < 0) break;
    if (used[index]) {
      n = 0;
      break;
    }
    used[index] = true;
    bool skip = mig && all[index].mig >= 0;
    mig = mig || all[index].mig >= 0;
    if (!skip && n < room) found[n++] = all[index];
    if (text) entry = strtok_r(NULL, ",", &rest);
  }
  free(copy);
  return n;
}
