/* Between libfxsr and libfxsr_trt, which is compiled from NVIDIA's headers and loaded when an engine is opened. Calls
 * return an fxsr_status, and on failure a sentence in `why`, `room` bytes long. All are made with the context of the
 * GPU current. */
#ifndef FXSR_ENGINE_API_H
#define FXSR_ENGINE_API_H

#include <stddef.h>
#include <stdint.h>

#define FXSR_ENGINE_API 1

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fxsr_engine fxsr_engine;                 /* threads may share it */
typedef struct fxsr_engine_context fxsr_engine_context; /* for one thread at a time */

typedef void *(*fxsr_engine_maker)(void *log, int32_t version); /* createInferRuntime_INTERNAL of a loaded library */

typedef struct fxsr_engine_input {
  const char *name;
  int64_t shape[4];
} fxsr_engine_input;

typedef struct fxsr_engine_api {
  int32_t version;     /* FXSR_ENGINE_API */
  const char *flavour; /* "tensorrt" or "tensorrt-rtx" */
  const char *library; /* the library that it was compiled for */

  /* Load the library from a path or by name. *version: 101602 is 10.16.2. */
  int (*load)(const char *path, fxsr_engine_maker *maker, int32_t *version, char *why, size_t room);
  /* `compiled`: what `compiled` below gave in an earlier process; NULL: nothing. */
  int (*open)(fxsr_engine_maker maker, const void *plan, size_t bytes, int host_code, const void *compiled,
              size_t compiled_bytes, fxsr_engine **engine, char *why, size_t room);
  void (*close)(fxsr_engine *engine);
  /* Inputs and outputs by index; NULL behind the last. *type: 0 float32, 1 float16, 2 uint8, -1 another. */
  const char *(*tensor)(const fxsr_engine *engine, int index, int *type, int *is_input);
  /* Kernels that TensorRT-RTX compiled on this GPU: `take` is called with them, if there are any. */
  void (*compiled)(const fxsr_engine *engine, void (*take)(void *target, const void *bytes, size_t count),
                   void *target);

  int (*context)(fxsr_engine *engine, fxsr_engine_context **context, char *why, size_t room);
  void (*context_free)(fxsr_engine_context *context);
  /* Choose a profile and shapes. *scratch: the bytes of GPU memory that running them takes. Waits for nothing. */
  int (*prepare)(fxsr_engine_context *context, int profile, const fxsr_engine_input *inputs, int count, void *stream,
                 uint64_t *scratch, char *why, size_t room);
  /* Submit to a stream. `addresses`: of the inputs in the order of `prepare`, then of the output `sr`. */
  int (*run)(fxsr_engine_context *context, void *const *addresses, void *scratch, uint64_t bytes, void *stream,
             char *why, size_t room);
} fxsr_engine_api;

/* The only symbol of libfxsr_trt. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const fxsr_engine_api *fxsr_trt_api(void);

#ifdef __cplusplus
}
#endif
#endif
