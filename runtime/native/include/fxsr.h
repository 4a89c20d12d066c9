/* FxSR: super-resolution with a style dial, for C and for everything that can call C.
 *
 *   fxsr_model *model;  fxsr_worker *worker;
 *   fxsr_open("model.onnx", NULL, &model);            // share one model among all threads
 *   fxsr_worker_new(model, &worker);                  // one worker per thread
 *   fxsr_measure(worker, &in, &style, &output_size);  // how large the result is
 *   fxsr_run(worker, &in, &style, &out);              // or fxsr_submit and fxsr_wait
 *   fxsr_worker_free(worker);  fxsr_close(model);
 *
 * Every function that returns int returns FXSR_OK or a negative fxsr_status; nothing is thrown, printed, or kept in
 * global variables. Callers own all pixels. Strings belong to the handle that they come from. Every struct begins
 * with its size in bytes, set by an fxsr_..._init function: fields are only ever appended, so that a program runs with
 * later versions of the library. Models are ONNX files and TensorRT engines that `fxsr export` wrote. Results equal
 * those of `fxsr run --tile N` with the same file.
 */
#ifndef FXSR_H
#define FXSR_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) && defined(FXSR_BUILDING)
#define FXSR_API __declspec(dllexport)
#elif defined(_WIN32)
#define FXSR_API __declspec(dllimport)
#else
#define FXSR_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define FXSR_ABI 1 /* increases only if a program must be compiled again; see fxsr_abi */

typedef enum fxsr_status {
  FXSR_OK = 0,
  FXSR_BAD_ARGUMENT = -1, /* a null pointer, a struct without its size, an option outside its range */
  FXSR_BAD_IMAGE = -2,    /* an image whose size, layout or values can't be used */
  FXSR_BAD_STYLE = -3,    /* a style outside 0..1, or a map that does not fit */
  FXSR_BAD_MODEL = -4,    /* a file that is missing, damaged, changed, or no model of fxsr; or its results are NaN */
  FXSR_NO_RUNTIME = -5,   /* ONNX Runtime or TensorRT can't be loaded, or is too old */
  FXSR_NO_DEVICE = -6,    /* the GPU or the provider is absent */
  FXSR_NO_MEMORY = -7,    /* use smaller tiles, or fewer workers at once */
  FXSR_FAILED = -8        /* another library or the system failed; the error's text says how */
} fxsr_status;

typedef enum fxsr_type { FXSR_UINT8 = 0, FXSR_UINT16 = 1, FXSR_FLOAT16 = 2, FXSR_FLOAT32 = 3 } fxsr_type;
typedef enum fxsr_layout { FXSR_GREY = 0, FXSR_RGB, FXSR_BGR, FXSR_RGBX, FXSR_BGRX, FXSR_PLANAR } fxsr_layout;
typedef enum fxsr_memory { FXSR_HOST = 0, FXSR_CUDA = 1 } fxsr_memory;
typedef enum fxsr_provider {
  FXSR_CPU_PROVIDER = 0,
  FXSR_CUDA_PROVIDER,
  FXSR_TENSORRT,
  FXSR_TENSORRT_RTX
} fxsr_provider;

typedef struct fxsr_model fxsr_model;   /* a loaded model: immutable, safe to share among threads */
typedef struct fxsr_worker fxsr_worker; /* buffers and a queue: for one thread at a time */
typedef uint64_t fxsr_ticket;           /* 1, 2, 3, ... of each worker, in the order of fxsr_submit */

typedef struct fxsr_options {
  uint32_t size;
  int32_t provider;        /* fxsr_provider, for ONNX files; default FXSR_CPU_PROVIDER */
  int32_t device;          /* number of the GPU; default 0 */
  int32_t threads;         /* of the CPU provider; default 0: as many as CPUs that the process may use */
  int32_t tile;            /* largest side of a tile in input pixels, overlap included; default 256; 0: no tiles. An
                              engine that takes smaller ones only is given those */
  int32_t overlap;         /* input pixels that tiles share at least; default -1: 32, or half of a smaller tile */
  const char *onnxruntime; /* path of its library; default NULL: $FXSR_ONNXRUNTIME, then the system's */
  const char *cache;       /* folder for what the TensorRT providers and TensorRT-RTX build; default NULL: each time */
  const char *tensorrt; /* path of TensorRT's library, for engines; default NULL: $FXSR_TENSORRT, then the system's */
} fxsr_options;

typedef struct fxsr_info {
  uint32_t size;
  int32_t scale;    /* 2, 4 or 8: results are so many times as wide and high */
  const char *name; /* all strings live as long as the model */
  const char *variant;
  const char *precision; /* "fp32", "fp16" or "bf16" */
  const char *licence;   /* of the weights */
  int32_t bits8;         /* 1: the graph takes and gives 8 bits, finer steps are lost */
  float baked_t;         /* the style that the model is fixed at; negative: it takes any style */
} fxsr_info;

/* Element x, y, c is at (char *)data + y * row_stride + x * pixel_stride + c * channel_stride, in any alignment.
 * Strides are in bytes and may be negative: BGR is data + 2 elements with a channel stride of -1 element. Full
 * intensity is 255, 65535 or 1.0. Channels are 1 (grey) or 3 (R, G, B); the host upscales alpha as a grey image. */
typedef struct fxsr_image {
  uint32_t size;
  int32_t type;   /* fxsr_type */
  int32_t memory; /* fxsr_memory */
  int32_t device; /* number of the GPU that FXSR_CUDA memory is on */
  int32_t width, height, channels;
  void *data; /* of an input, only read */
  int64_t row_stride, pixel_stride, channel_stride;
} fxsr_image;

typedef struct fxsr_style {
  uint32_t size;
  float t;               /* 0 (faithful) to 1 (perceptual); ignored if there is a map */
  const fxsr_image *map; /* one channel, as large as the input, in host memory; NULL: t everywhere */
  float feather;         /* soften the map's borders by so many input pixels to either side; 0: not at all */
} fxsr_style;

typedef struct fxsr_output_size {
  uint32_t size;
  int32_t width, height;
  int32_t tiles;       /* how many tiles the input is cut into */
  uint64_t row_bytes;  /* of a packed row with the input's type and channels */
  uint64_t bytes;      /* of such an image */
  uint64_t work_bytes; /* what the worker itself allocates; ONNX Runtime's memory comes on top */
} fxsr_output_size;

FXSR_API int fxsr_abi(void); /* FXSR_ABI of the library that is loaded */
FXSR_API const char *fxsr_status_name(int status);

FXSR_API void fxsr_options_init(fxsr_options *options);
FXSR_API void fxsr_style_init(fxsr_style *style, float t);
/* Describe pixels in host memory. row_stride 0: rows are packed. FXSR_PLANAR: planes R, G, B of `height` rows each. */
FXSR_API int fxsr_image_init(fxsr_image *image, fxsr_layout layout, fxsr_type type, void *data, int32_t width,
                             int32_t height, int64_t row_stride);

/* Open a model. If NAME.json, which `fxsr export` wrote, is next to it, the file must be as described there. Also on
 * failure *model is a handle, which fxsr_open_error takes and fxsr_close must free; NULL only if memory is lacking.
 * options: NULL means all defaults. */
FXSR_API int fxsr_open(const char *path, const fxsr_options *options, fxsr_model **model);
FXSR_API const char *fxsr_open_error(const fxsr_model *model);        /* why fxsr_open failed; "" if it did not */
FXSR_API void fxsr_close(fxsr_model *model);                          /* workers keep what they need of it */
FXSR_API int fxsr_get_info(const fxsr_model *model, fxsr_info *info); /* set info->size to sizeof(fxsr_info) before */

FXSR_API int fxsr_worker_new(const fxsr_model *model, fxsr_worker **worker);
FXSR_API void fxsr_worker_free(fxsr_worker *worker);        /* waits for all its tickets */
FXSR_API const char *fxsr_error(const fxsr_worker *worker); /* about its last failure, until its next one */

/* What upscaling this image in this style takes. Set output->size to sizeof(fxsr_output_size) before. No pixel is read;
 * data may be NULL. */
FXSR_API int fxsr_measure(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, fxsr_output_size *output);

/* Upscale. `out` has the input's channels and scale times its size; its type and layout are free. style NULL: t 0.8. */
FXSR_API int fxsr_run(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, const fxsr_image *out);

/* The same without waiting; structs are copied, pixels belong to the library until the ticket is done. Images in
 * FXSR_CUDA memory must be ready on cuda_stream (a CUstream or cudaStream_t) by then, and the result is ready on it
 * when the ticket is done: only this stream is waited for, never the whole device. Otherwise cuda_stream is NULL. */
FXSR_API int fxsr_submit(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, const fxsr_image *out,
                         void *cuda_stream, fxsr_ticket *ticket);
FXSR_API int fxsr_done(fxsr_worker *worker, fxsr_ticket ticket); /* 1: fxsr_wait will not block; 0: it would */
FXSR_API int fxsr_wait(fxsr_worker *worker, fxsr_ticket ticket); /* the result of this ticket, which it forgets */

#ifdef __cplusplus
}
#endif
#endif
