/* The GPUs of this imagined host, as NVML numbers them, and those that this process may see. */
#ifndef FAKECUDA_TOPOLOGY_H
#define FAKECUDA_TOPOLOGY_H

enum { MODE_DEFAULT = 0, MODE_PROHIBITED = 2, MODE_EXCLUSIVE = 3, UUID_TEXT = 48 };

/* FAKECUDA_DEVICES: their number (1). FAKECUDA_MODES: compute mode of each, "0,3". FAKECUDA_MIG: number of MIG
 * instances of each, "2,0"; 0 is a GPU without MIG. */
int gpu_count(void);
int gpu_mode(int gpu);
int gpu_mig(int gpu);

/* The name of a GPU (mig < 0) or of one of its MIG instances, and its 16 bytes. */
void gpu_uuid_text(int gpu, int mig, char text[UUID_TEXT]);
void gpu_uuid_bytes(int gpu, int mig, unsigned char bytes[16]);

typedef struct { int gpu, mig; } Visible;

/* The devices that CUDA_VISIBLE_DEVICES leaves, in its order; returns how many, at most `room`. */
int gpu_visible(Visible *found, int room);

#endif
