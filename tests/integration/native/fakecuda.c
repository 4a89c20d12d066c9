/* A stand-in for NVIDIA's driver whose GPU is host memory: what libfxsr calls of it, with its rules checked.
 *
 * A stream is an int that counts the copies on it that nobody has waited for yet. */
#include <stdlib.h>
#include <string.h>

typedef unsigned long long pointer;

static int current = 0, retained = 0;

static void require(int held) {
  if (!held) abort();
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
