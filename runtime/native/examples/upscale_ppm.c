/* Upscales a PPM file: upscale_ppm MODEL.onnx IN.ppm OUT.ppm [T | MAP.pgm [FEATHER]] [--tile N]
 *
 * Plain C99, and nothing but fxsr.h. The map is a PGM file of the input's size; black is t = 0, white is t = 1. */
#include <fxsr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  int width, height, channels;
  unsigned char *pixels;
} picture;

/* Read a binary PPM (P6) or PGM (P5) of 8 bits without comments. */
static int read_picture(const char *path, picture *read) {
  FILE *file = fopen(path, "rb");
  char kind = 0;
  int most = 0;
  int fine = file && fscanf(file, "P%c %d %d %d", &kind, &read->width, &read->height, &most) == 4;
  fine = fine && (kind == '5' || kind == '6') && most == 255 && read->width > 0 && read->height > 0;
  if (fine) {
    size_t bytes;
    fgetc(file);
    read->channels = kind == '6' ? 3 : 1;
    bytes = (size_t)read->width * (size_t)read->height * (size_t)read->channels;
    read->pixels = malloc(bytes);
    fine = read->pixels && fread(read->pixels, 1, bytes, file) == bytes;
  }
  if (file) fclose(file);
  if (!fine) fprintf(stderr, "%s: not a PPM or PGM file of 8 bits\n", path);
  return fine;
}

static int write_picture(const char *path, const picture *written) {
  FILE *file = fopen(path, "wb");
  const size_t bytes = (size_t)written->width * (size_t)written->height * (size_t)written->channels;
  int fine = file && fprintf(file, "P%c\n%d %d\n255\n", written->channels == 3 ? '6' : '5', written->width,
                             written->height) > 0;
  fine = fine && fwrite(written->pixels, 1, bytes, file) == bytes;
  if (file && fclose(file)) fine = 0;
  if (!fine) fprintf(stderr, "%s: it can't be written\n", path);
  return fine;
}

static fxsr_image describe(const picture *each) {
  fxsr_image image;
  fxsr_image_init(&image, each->channels == 3 ? FXSR_RGB : FXSR_GREY, FXSR_UINT8, each->pixels, each->width,
                  each->height, 0);
  return image;
}

static int upscale(fxsr_worker *worker, const picture *in, const fxsr_style *style, picture *out) {
  const fxsr_image from = describe(in);
  fxsr_output_size size = {sizeof size};
  fxsr_image to;
  if (fxsr_measure(worker, &from, style, &size)) return 0;
  out->width = size.width;
  out->height = size.height;
  out->channels = in->channels;
  out->pixels = malloc(size.bytes);
  if (!out->pixels) return 0;
  to = describe(out);
  return fxsr_run(worker, &from, style, &to) == FXSR_OK;
}

int main(int argc, char **argv) {
  picture in = {0}, out = {0}, map = {0};
  fxsr_image map_image;
  fxsr_model *model = NULL;
  fxsr_worker *worker = NULL;
  fxsr_options options;
  fxsr_style style;
  int fine;

  fxsr_options_init(&options);
  if (argc > 2 && !strcmp(argv[argc - 2], "--tile")) {
    options.tile = atoi(argv[argc - 1]);
    argc -= 2;
  }
  if (argc < 4 || argc > 6) {
    fprintf(stderr, "usage: upscale_ppm MODEL.onnx IN.ppm OUT.ppm [T | MAP.pgm [FEATHER]] [--tile N]\n");
    return 2;
  }
  fxsr_style_init(&style, 0.8f);
  fine = read_picture(argv[2], &in);
  if (fine && argc > 4) {
    char *end;
    style.t = strtof(argv[4], &end);
    if (*end) {
      fine = read_picture(argv[4], &map);
      if (fine) map_image = describe(&map);
      style.map = &map_image;
      style.feather = argc > 5 ? strtof(argv[5], NULL) : 0;
    }
  }
  if (fine && fxsr_open(argv[1], &options, &model)) {
    fprintf(stderr, "%s\n", fxsr_open_error(model));
    fine = 0;
  }
  if (fine && fxsr_worker_new(model, &worker)) fine = 0;
  if (fine && !upscale(worker, &in, &style, &out)) {
    fprintf(stderr, "%s: %s\n", argv[2], fxsr_error(worker));
    fine = 0;
  }
  fine = fine && write_picture(argv[3], &out);
  fxsr_worker_free(worker);
  fxsr_close(model);
  free(in.pixels);
  free(out.pixels);
  free(map.pixels);
  return !fine;
}
