// The C interface: checks pointers and structs, and turns exceptions into a status and a sentence.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <limits>
#include <new>

#include "engine.hpp"
#include "error.hpp"
#include "model_file.hpp"
#include "onnx_graph.hpp"
#include "pixels.hpp"
#include "structs.hpp"
#include "tiles.hpp"
#include "worker.hpp"

struct fxsr_model {
  std::shared_ptr<const fxsr::Graph> graph;  // null if opening failed
  fxsr::Tiling tiling;
  fxsr::LastError error;
};

struct fxsr_worker {
  fxsr_worker(std::shared_ptr<const fxsr::Graph> graph, const fxsr::Tiling &tiling) : work(std::move(graph), tiling) {}
  fxsr::Worker work;
  fxsr::LastError error;
};

namespace {

using fxsr::fail;
using fxsr::read_struct;
using fxsr::write_struct;

// Call `body`; no exception leaves.
template <typename Body>
int guarded(fxsr::LastError &last, Body body) noexcept {
  try {
    body();
    return FXSR_OK;
  } catch (const fxsr::Error &error) {
    return last.set(error.status(), error.what());
  } catch (const std::bad_alloc &) {
    return last.set(FXSR_NO_MEMORY, fxsr::kNoMemory);
  } catch (const std::exception &error) {
    return last.set(FXSR_FAILED, error.what());
  } catch (...) {
    return last.set(FXSR_FAILED, "an unknown error");
  }
}

fxsr_style default_style() {
  fxsr_style style;
  fxsr_style_init(&style, fxsr::kDefaultStyle);
  return style;
}

// The job of a call. `out` is null for fxsr_measure.
fxsr::Job read_job(const fxsr_image *in, const fxsr_style *style, const fxsr_image *out, void *stream) {
  fxsr::Job job;
  job.in = read_struct(in, fxsr_image{}, "the input");
  if (out) job.out = read_struct(out, fxsr_image{}, "the output");
  job.style = style ? read_struct(style, default_style(), "the style") : default_style();
  if (job.style.map) job.map = read_struct(job.style.map, fxsr_image{}, "the style map");
  job.stream = stream;
  return job;
}

// `overlap` may be -1.
fxsr::Tiling check_tiling(int tile, int overlap) {
  if (overlap == -1) overlap = fxsr::default_overlap(tile);
  fxsr::check_tiling(tile, overlap);
  return {tile, overlap};
}

void open_model(fxsr_model &model, const char *path, const fxsr_options *given) {
  if (!path) fail(FXSR_BAD_ARGUMENT, "path is null");
  fxsr_options options;
  fxsr_options_init(&options);
  if (given) options = read_struct(given, options, "the options");
  if (options.provider < FXSR_CPU_PROVIDER || options.provider > FXSR_TENSORRT_RTX) {
    fail(FXSR_BAD_ARGUMENT, "provider is ", options.provider, "; it must be an fxsr_provider");
  }
  if (options.threads < 0 || options.device < 0) {
    fail(FXSR_BAD_ARGUMENT, "threads ", options.threads, " and device ", options.device, " must not be negative");
  }
  check_tiling(options.tile, options.overlap);
  fxsr::GraphOptions graph{options.provider, options.device, options.threads, {}, {}, {}};
  if (options.onnxruntime) graph.onnxruntime = options.onnxruntime;
  if (options.cache) graph.cache = options.cache;
  if (options.tensorrt) graph.tensorrt = options.tensorrt;
  fxsr::ModelFile file = fxsr::read_model_file(path);
  fxsr::naming(path, [&] {
    if (file.engine) {
      model.graph = std::make_shared<const fxsr::Engine>(file.bytes, std::move(*file.engine), graph);
    } else {
      model.graph = std::make_shared<const fxsr::OnnxGraph>(file.bytes, graph);
    }
  });
  const fxsr::Limits &limits = model.graph->limits();
  const int64_t most = std::min(limits.height, limits.width);
  const bool is_limited = most > 0 && (options.tile == 0 || options.tile > most);
  try {
    model.tiling = check_tiling(is_limited ? static_cast<int>(most) : options.tile, options.overlap);
  } catch (const fxsr::Error &) {
    model.graph.reset();
    throw;
  }
}

}  // namespace

int fxsr_abi(void) { return FXSR_ABI; }

const char *fxsr_status_name(int status) {
  switch (status) {
    case FXSR_OK:
      return "FXSR_OK";
    case FXSR_BAD_ARGUMENT:
      return "FXSR_BAD_ARGUMENT";
    case FXSR_BAD_IMAGE:
      return "FXSR_BAD_IMAGE";
    case FXSR_BAD_STYLE:
      return "FXSR_BAD_STYLE";
    case FXSR_BAD_MODEL:
      return "FXSR_BAD_MODEL";
    case FXSR_NO_RUNTIME:
      return "FXSR_NO_RUNTIME";
    case FXSR_NO_DEVICE:
      return "FXSR_NO_DEVICE";
    case FXSR_NO_MEMORY:
      return "FXSR_NO_MEMORY";
    case FXSR_FAILED:
      return "FXSR_FAILED";
    default:
      return "unknown status";
  }
}

void fxsr_options_init(fxsr_options *options) {
  if (!options) return;
  *options = {};
  options->size = sizeof *options;
  options->tile = fxsr::kDefaultTile;
  options->overlap = -1;
}

void fxsr_style_init(fxsr_style *style, float t) {
  if (!style) return;
  *style = {};
  style->size = sizeof *style;
  style->t = t;
}

int fxsr_image_init(fxsr_image *image, fxsr_layout layout, fxsr_type type, void *data, int32_t width, int32_t height,
                    int64_t row_stride) {
  if (!image || layout < FXSR_GREY || layout > FXSR_PLANAR || type < FXSR_UINT8 || type > FXSR_FLOAT32) {
    return FXSR_BAD_ARGUMENT;
  }
  if (width < 1 || height < 1) return FXSR_BAD_IMAGE;
  const auto bytes = static_cast<int64_t>(fxsr::element_bytes(type));
  const bool wide = layout == FXSR_RGBX || layout == FXSR_BGRX, single = layout == FXSR_GREY || layout == FXSR_PLANAR;
  const int64_t pixel = bytes * (wide ? 4 : single ? 1 : 3);
  const bool reversed = layout == FXSR_BGR || layout == FXSR_BGRX;
  const int64_t row = row_stride ? row_stride : pixel * width, most = std::numeric_limits<int64_t>::max() / height;
  if (row > most || row < -most) return FXSR_BAD_IMAGE;
  const int64_t channel = layout == FXSR_PLANAR ? row * height : reversed ? -bytes : bytes;
  void *first = reversed && data ? static_cast<std::byte *>(data) + 2 * bytes : data;
  *image = {sizeof *image, type, FXSR_HOST, 0, width, height, layout == FXSR_GREY ? 1 : 3, first, row, pixel, channel};
  return FXSR_OK;
}

int fxsr_open(const char *path, const fxsr_options *options, fxsr_model **model) {
  if (!model) return FXSR_BAD_ARGUMENT;
  *model = new (std::nothrow) fxsr_model;
  if (!*model) return FXSR_NO_MEMORY;
  return guarded((*model)->error, [&] { open_model(**model, path, options); });
}

const char *fxsr_open_error(const fxsr_model *model) { return model ? model->error.text() : fxsr::kNoMemory; }

void fxsr_close(fxsr_model *model) { delete model; }

int fxsr_get_info(const fxsr_model *model, fxsr_info *info) {
  if (!model || !model->graph || !info) return FXSR_BAD_ARGUMENT;
  const fxsr::Facts &facts = model->graph->facts();
  const fxsr_info found{sizeof found,
                        facts.scale,
                        facts.name.c_str(),
                        facts.variant.c_str(),
                        facts.precision.c_str(),
                        facts.licence.c_str(),
                        facts.takes_bytes(),
                        facts.baked_t.value_or(-1.0f)};
  return write_struct(found, info) ? FXSR_OK : FXSR_BAD_ARGUMENT;
}

int fxsr_worker_new(const fxsr_model *model, fxsr_worker **worker) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  *worker = nullptr;
  if (!model || !model->graph) return FXSR_BAD_ARGUMENT;
  fxsr::LastError ignored;  // there is no handle yet that could keep the text
  return guarded(ignored, [&] { *worker = new fxsr_worker(model->graph, model->tiling); });
}

void fxsr_worker_free(fxsr_worker *worker) { delete worker; }

const char *fxsr_error(const fxsr_worker *worker) { return worker ? worker->error.text() : "there is no worker"; }

int fxsr_measure(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, fxsr_output_size *output) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  return guarded(worker->error, [&] {
    fxsr_output_size found{};
    found.size = sizeof found;
    worker->work.measure(read_job(in, style, nullptr, nullptr), found);
    if (!output || !write_struct(found, output)) fail(FXSR_BAD_ARGUMENT, "output is null, or its size is not set");
  });
}

int fxsr_run(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, const fxsr_image *out) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  return guarded(worker->error, [&] {
    if (!out) fail(FXSR_BAD_ARGUMENT, "the output is null");
    worker->work.run(read_job(in, style, out, nullptr));
  });
}

int fxsr_submit(fxsr_worker *worker, const fxsr_image *in, const fxsr_style *style, const fxsr_image *out,
                void *cuda_stream, fxsr_ticket *ticket) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  return guarded(worker->error, [&] {
    if (!out) fail(FXSR_BAD_ARGUMENT, "the output is null");
    if (!ticket) fail(FXSR_BAD_ARGUMENT, "ticket is null");
    *ticket = worker->work.submit(read_job(in, style, out, cuda_stream));
  });
}

int fxsr_done(fxsr_worker *worker, fxsr_ticket ticket) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  bool done = false;
  const int status = guarded(worker->error, [&] { done = worker->work.is_done(ticket); });
  return status == FXSR_OK ? done : status;
}

int fxsr_wait(fxsr_worker *worker, fxsr_ticket ticket) {
  if (!worker) return FXSR_BAD_ARGUMENT;
  return guarded(worker->error, [&] { worker->work.wait(ticket); });
}
