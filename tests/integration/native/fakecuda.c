/* A stand-in for NVIDIA's driver whose GPU is host memory: what libfxsr calls of it, with its rules checked.
 *
 * A stream is an int that counts the copies on it that nobody has waited for yet. */
#include <stdlib.h>
#include <string.h>

typedef unsigned long long pointer;

static _Thread_local int current = 0; /* contexts are of a thread */
static int retained = 0;              /* changed by one thread at a time, as tests use it */

static struct {
  char *memory;
  size_t bytes;
} blocks[64];

static void require(int held) {
  if (!held) abort();
}

/* Not the driver's: whether an address is in its memory, whether there is a context, how much is still allocated. */
int cuMemHolds(const void *address, size_t bytes) {
  for (int at = 0; at < 64; ++at) {
    const char *memory = blocks[at].memory, *begin = address;
    if (memory && begin >= memory && begin + bytes <= memory + blocks[at].bytes) return 1;
  }
  return 0;
}
int cuCtxIsCurrent(void) { return current > 0; }
int cuMemCount(void) {
  int count = 0;
  for (int at = 0; at < 64; ++at) count += blocks[at].memory != NULL;
  return count;
}

int cuInit(unsigned flags) { return (int)flags; }
int cuDeviceGetCount(int *count) { return *count = 2, 0; }
int cuDeviceGet(int *device, int number) { return *device = number, number > 1; }
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &retained, retained += 1 + 0 * device, 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return retained -= 1 + 0 * device, 0; }
int cuCtxPushCurrent_v2(void *context) { return require(context == &retained && retained > 0), ++current, 0; }
int cuCtxPopCurrent_v2(void **context) { return *context = &retained, require(current > 0), --current, 0; }

int cuMemcpyDtoHAsync_v2(void *to, pointer from, size_t bytes, int *stream) {
  require(current == 1 && stream != NULL);
  memcpy(to, (void *)(size_t)from, bytes);
  return ++*stream, 0;
}

int cuMemcpyHtoDAsync_v2(pointer to, const void *from, size_t bytes, int *stream) {
  require(current == 1 && stream != NULL);
  memcpy((void *)(size_t)to, from, bytes);
  return ++*stream, 0;
}

int cuStreamSynchronize(int *stream) { return require(current == 1), *stream = 0; }

int cuDeviceGetName(char *name, int room, int device) {
  strncpy(name, "Fake GPU", (size_t)room);
  return 0 * device;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  return *value = attribute == 75 ? 8 : 9, 0 * device; /* compute capability 8.9 */
}
int cuMemAlloc_v2(pointer *memory, size_t bytes) {
  require(current == 1);
  for (int at = 0; at < 64; ++at) {
    if (blocks[at].memory) continue;
    blocks[at].memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
    blocks[at].bytes = bytes;
    memset(blocks[at].memory, 0xCD, bytes);
    return *memory = (pointer)(size_t)blocks[at].memory, 0;
  }
  return 2;
}
int cuMemFree_v2(pointer memory) {
  require(current == 1);
  for (int at = 0; at < 64; ++at) {
    if (blocks[at].memory != (char *)(size_t)memory) continue;
    free(blocks[at].memory);
    return blocks[at].memory = NULL, 0;
  }
  abort();
}
int cuStreamCreate(int **stream, unsigned flags) {
  require(current == 1 && flags == 1);
  return *stream = calloc(1, sizeof **stream), 0;
}
int cuStreamDestroy_v2(int *stream) { return require(current == 1 && *stream == 0), free(stream), 0; }
