// core.fxsr.Upscale for VapourSynth (API 4), over fxsr.h.
//
//   core.fxsr.Upscale(clip, model, t=0.8, t_map=maps, feather=0, tile=256, overlap=32, device="cpu", streams=1)
//
// Clips are RGB or Gray of 8 or 16 bits, or of half or single floats. Frames are copied into planes that follow each
// other, since VapourSynth's planes lie anywhere and fxsr_image has one stride between channels.
#include <VapourSynth4.h>

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "fxsr.hpp"

namespace {

// One image in host memory: planes that follow each other, rows packed.
struct Planes {
  fxsr_image image{};
  std::vector<std::uint8_t> bytes;

  void shape(const VSVideoFormat &format, int width, int height) {
    const auto row = static_cast<std::size_t>(width) * static_cast<std::size_t>(format.bytesPerSample);
    bytes.resize(row * static_cast<std::size_t>(height) * static_cast<std::size_t>(format.numPlanes));
    const fxsr_type type = format.bytesPerSample == 1       ? FXSR_UINT8
                           : format.sampleType == stInteger ? FXSR_UINT16
                           : format.bytesPerSample == 2     ? FXSR_FLOAT16
                                                            : FXSR_FLOAT32;
    const fxsr_layout layout = format.numPlanes == 1 ? FXSR_GREY : FXSR_PLANAR;
    const int status = fxsr_image_init(&image, layout, type, bytes.data(), width, height, 0);
    if (status != FXSR_OK) throw fxsr::Failure(status, "a frame has a wrong size");
  }

  void read(const VSFrame *frame, const VSAPI *api) {
    const VSVideoFormat *format = api->getVideoFrameFormat(frame);
    shape(*format, api->getFrameWidth(frame, 0), api->getFrameHeight(frame, 0));
    each_row(*format, [&](int plane, int y, std::uint8_t *row, std::size_t size) {
      std::memcpy(row, api->getReadPtr(frame, plane) + y * api->getStride(frame, plane), size);
    });
  }

  void write(VSFrame *frame, const VSAPI *api) {
    each_row(*api->getVideoFrameFormat(frame), [&](int plane, int y, std::uint8_t *row, std::size_t size) {
      std::memcpy(api->getWritePtr(frame, plane) + y * api->getStride(frame, plane), row, size);
    });
  }

 private:
  template <typename Copy>
  void each_row(const VSVideoFormat &format, Copy copy) {
    const auto size = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(format.bytesPerSample);
    std::uint8_t *row = bytes.data();
    for (int plane = 0; plane < format.numPlanes; ++plane)
      for (int y = 0; y < image.height; ++y, row += size) copy(plane, y, row, size);
  }
};

// What one frame at a time is upscaled with.
struct Stream {
  explicit Stream(const fxsr::Model &model) : worker(model) {}
  fxsr::Worker worker;
  Planes in, map, out;
};

struct Upscale {
  VSNode *clip = nullptr;
  VSNode *map = nullptr;
  VSVideoInfo info{};  // of the output
  float t = 0.8f;
  float feather = 0;
  std::optional<fxsr::Model> model;

  // The streams that no frame uses now.
  std::mutex lock;
  std::condition_variable freed;
  std::vector<std::unique_ptr<Stream>> free;

  std::unique_ptr<Stream> take() {
    std::unique_lock<std::mutex> held(lock);
    freed.wait(held, [&] { return !free.empty(); });
    std::unique_ptr<Stream> stream = std::move(free.back());
    free.pop_back();
    return stream;
  }

  void give(std::unique_ptr<Stream> stream) {
    const std::lock_guard<std::mutex> held(lock);
    free.push_back(std::move(stream));
    freed.notify_one();
  }
};

const VSFrame *VS_CC get_frame(int n, int reason, void *data, void **, VSFrameContext *context, VSCore *core,
                               const VSAPI *api) {
  auto *self = static_cast<Upscale *>(data);
  if (reason == arInitial) {
    api->requestFrameFilter(n, self->clip, context);
    if (self->map != nullptr) api->requestFrameFilter(n, self->map, context);
    return nullptr;
  }
  if (reason != arAllFramesReady) return nullptr;
  const VSFrame *frame = api->getFrameFilter(n, self->clip, context);
  const VSFrame *map = self->map != nullptr ? api->getFrameFilter(n, self->map, context) : nullptr;
  std::unique_ptr<Stream> stream = self->take();
  VSFrame *made = nullptr;
  try {
    stream->in.read(frame, api);
    stream->out.shape(self->info.format, self->info.width, self->info.height);
    if (map != nullptr) stream->map.read(map, api);
    const fxsr::Style style = map != nullptr ? fxsr::Style(stream->map.image, self->feather) : fxsr::Style(self->t);
    stream->worker.run(stream->in.image, style, stream->out.image);
    made = api->newVideoFrame(&self->info.format, self->info.width, self->info.height, frame, core);
    stream->out.write(made, api);
  } catch (const std::exception &error) {
    api->setFilterError((std::string("Upscale: ") + error.what()).c_str(), context);
  }
  self->give(std::move(stream));
  api->freeFrame(frame);
  api->freeFrame(map);
  return made;
}

void VS_CC free_filter(void *data, VSCore *, const VSAPI *api) {
  auto *self = static_cast<Upscale *>(data);
  api->freeNode(self->clip);
  api->freeNode(self->map);
  delete self;
}

// The arguments of one call.
struct Arguments {
  const VSMap *in;
  const VSAPI *api;

  bool has(const char *name) const { return api->mapNumElements(in, name) > 0; }

  std::string text(const char *name, const std::string &otherwise = "") const {
    if (!has(name)) return otherwise;
    return {api->mapGetData(in, name, 0, nullptr), static_cast<std::size_t>(api->mapGetDataSize(in, name, 0, nullptr))};
  }

  float number(const char *name, float otherwise) const {
    return has(name) ? static_cast<float>(api->mapGetFloat(in, name, 0, nullptr)) : otherwise;
  }

  int whole(const char *name, int otherwise) const {
    return has(name) ? api->mapGetIntSaturated(in, name, 0, nullptr) : otherwise;
  }
};

void set_device(const Arguments &arguments, fxsr::Options *options) {
  const std::string device = arguments.text("device", "cpu");
  const std::string provider = arguments.text("provider", device == "cpu" ? "cpu" : "cuda");
  if (device.rfind("cuda:", 0) == 0 && device.size() > 5 && device.size() < 9 &&
      device.find_first_not_of("0123456789", 5) == std::string::npos)
    options->device = std::stoi(device.substr(5));
  else if (device != "cpu" && device != "cuda")
    throw std::invalid_argument("device is '" + device + "'; it must be cpu, cuda or cuda:N");
  const char *const names[] = {"cpu", "cuda", "tensorrt", "tensorrt-rtx"};
  const auto *const found = std::find(std::begin(names), std::end(names), provider);
  if (found == std::end(names) || (device == "cpu") != (provider == "cpu"))
    throw std::invalid_argument("provider '" + provider + "' does not fit device '" + device +
                                "'; for GPUs, choose cuda, tensorrt or tensorrt-rtx");
  options->provider = static_cast<int>(found - std::begin(names));
}

// ONNX Runtime's library in the pip package that is installed next to VapourSynth's; "" if there is none.
std::string packaged_runtime(const char *plugin_path) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (fs::path folder = fs::path(plugin_path).parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    const fs::path capi = folder / "onnxruntime" / "capi";
    for (const auto &entry : fs::directory_iterator(capi, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("libonnxruntime.so", 0) == 0 || name == "onnxruntime.dll" ||
          (name.rfind("libonnxruntime.", 0) == 0 && entry.path().extension() == ".dylib"))
        return entry.path().string();
    }
  }
  return "";
}

bool is_usable(const VSVideoInfo &info) {
  const VSVideoFormat &format = info.format;
  const bool depth = format.sampleType == stInteger ? format.bitsPerSample == 8 || format.bitsPerSample == 16
                                                    : format.bitsPerSample == 16 || format.bitsPerSample == 32;
  return info.width > 0 && depth && (format.colorFamily == cfRGB || format.colorFamily == cfGray);
}

void fill(Upscale *self, const Arguments &arguments, const char *plugin_path) {
  const VSAPI *api = arguments.api;
  self->clip = api->mapGetNode(arguments.in, "clip", 0, nullptr);
  self->info = *api->getVideoInfo(self->clip);
  if (!is_usable(self->info))
    throw std::invalid_argument(
        "clip must have one size and be RGB24, RGB48, RGBH or RGBS, or Gray of such a depth; convert it with "
        "core.resize.Bicubic(clip, format=vs.RGBS, matrix_in_s=\"709\")");
  if (arguments.has("t_map")) {
    if (arguments.has("t")) throw std::invalid_argument("give t or t_map, not both");
    self->map = api->mapGetNode(arguments.in, "t_map", 0, nullptr);
    const VSVideoInfo &map = *api->getVideoInfo(self->map);
    if (!is_usable(map) || map.format.colorFamily != cfGray || map.width != self->info.width ||
        map.height != self->info.height || map.numFrames < self->info.numFrames)
      throw std::invalid_argument(
          "t_map must be Gray8, Gray16, GrayH or GrayS, of the clip's size, with a frame for each of its frames");
  }
  self->t = arguments.number("t", self->t);
  self->feather = arguments.number("feather", 0);
  const int streams = arguments.whole("streams", 1);
  if (streams < 1 || streams > 64) throw std::invalid_argument("streams must be in 1..64");
  fxsr::Options options;
  options.tile = arguments.whole("tile", options.tile);
  options.overlap = arguments.whole("overlap", options.overlap);
  set_device(arguments, &options);
  std::string runtime = arguments.text("onnxruntime");
  if (runtime.empty() && std::getenv("FXSR_ONNXRUNTIME") == nullptr) runtime = packaged_runtime(plugin_path);
  if (!runtime.empty()) options.onnxruntime = runtime.c_str();
  const std::string cache = arguments.text("cache");
  if (!cache.empty()) options.cache = cache.c_str();
  self->model.emplace(arguments.text("model"), options);
  const fxsr_info model = self->model->info();
  if (model.baked_t >= 0 && (arguments.has("t") || self->map != nullptr))
    throw std::invalid_argument("the model is fixed at one style; leave out t and t_map");
  for (int count = 0; count < streams; ++count) self->free.push_back(std::make_unique<Stream>(*self->model));
  Planes whole;
  whole.shape(self->info.format, self->info.width, self->info.height);
  const auto size = self->free.front()->worker.measure(whole.image, fxsr::Style(self->t));  // refuses a t outside 0..1
  self->info.width = size.width;
  self->info.height = size.height;
}

void VS_CC create(const VSMap *in, VSMap *out, void *, VSCore *core, const VSAPI *api) {
  auto self = std::make_unique<Upscale>();
  try {
    VSPlugin *plugin = api->getPluginByNamespace("fxsr", core);
    const char *path = plugin != nullptr ? api->getPluginPath(plugin) : nullptr;
    fill(self.get(), Arguments{in, api}, path != nullptr ? path : "");
  } catch (const std::exception &error) {
    api->mapSetError(out, (std::string("Upscale: ") + error.what()).c_str());
    free_filter(self.release(), core, api);
    return;
  }
  const VSFilterDependency sources[] = {{self->clip, rpStrictSpatial}, {self->map, rpGeneral}};
  const int mode = self->free.size() > 1 ? fmParallel : fmParallelRequests;
  const int count = self->map != nullptr ? 2 : 1;
  const VSVideoInfo info = self->info;
  api->createVideoFilter(out, "Upscale", &info, get_frame, free_filter, mode, sources, count, self.release(), core);
}

}  // namespace

VS_EXTERNAL_API(void) VapourSynthPluginInit2(VSPlugin *plugin, const VSPLUGINAPI *api) {
  api->configPlugin("io.fxsr.vapoursynth", "fxsr", "FxSR: super-resolution with a style dial", VS_MAKE_VERSION(1, 0),
                    VAPOURSYNTH_API_VERSION, 0, plugin);
  api->registerFunction("Upscale",
                        "clip:vnode;model:data;t:float:opt;t_map:vnode:opt;feather:float:opt;tile:int:opt;"
                        "overlap:int:opt;device:data:opt;provider:data:opt;streams:int:opt;cache:data:opt;"
                        "onnxruntime:data:opt;",
                        "clip:vnode;", create, nullptr, plugin);
}
