// Engines on TensorRT 10, 11 or TensorRT-RTX, whichever's headers this is compiled with. Their libraries are not
// linked: their few functions are looked up in the library that `load` is told.
#include <NvInferRuntime.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "engine_api.h"
#include "error.hpp"
#include "library.hpp"

#define FXSR_TEXT(macro) FXSR_TEXT_OF(macro)
#define FXSR_TEXT_OF(value) #value

namespace {

using fxsr::fail;

#ifdef TRT_MAJOR_RTX
constexpr const char *kFlavour = "tensorrt-rtx", *kLibrary = "libtensorrt_rtx.so." FXSR_TEXT(TRT_MAJOR_RTX);
#else
constexpr const char *kFlavour = "tensorrt", *kLibrary = "libnvinfer.so." FXSR_TEXT(NV_TENSORRT_MAJOR);
#endif

// Keeps the first error of each thread: later ones are often about something else.
class Log : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char *message) noexcept override {
    if (severity <= Severity::kERROR && !*first_) std::snprintf(first_, sizeof first_, "%s", message);
  }
  static void clear() { *first_ = '\0'; }
  static std::string first() { return *first_ ? fxsr::foreign(std::string_view(first_), 300) : "it gave no reason"; }
  static bool is_out_of_memory() {
    const std::string_view text(first_);
    for (const char *mark : {"utOfMemory", "ut of memory", "UT_OF_MEMORY"}) {
      if (text.find(mark) != std::string_view::npos) return true;
    }
    return false;
  }

 private:
  static thread_local char first_[400];
};
thread_local char Log::first_[400];

// The library keeps the first logger for all later runtimes, and never gives it back.
Log &log() {
  static Log *const lasting = new Log;
  return *lasting;
}

[[noreturn]] void fail_with_log(fxsr_status status, const char *what) {
  if (Log::is_out_of_memory()) fail(FXSR_NO_MEMORY, "too little memory on the GPU: ", what, "; use smaller tiles");
  fail(status, what, " (", Log::first(), ")");
}

template <typename Body>
int guarded(char *why, size_t room, Body body) noexcept {
  try {
    Log::clear();
    body();
    return FXSR_OK;
  } catch (const fxsr::Error &error) {
    std::snprintf(why, room, "%s", error.what());
    return error.status();
  } catch (const std::bad_alloc &) {
    std::snprintf(why, room, "too little memory");
    return FXSR_NO_MEMORY;
  } catch (const std::exception &error) {
    std::snprintf(why, room, "%s", error.what());
    return FXSR_FAILED;
  }
}

int type_number(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return 0;
    case nvinfer1::DataType::kHALF:
      return 1;
    case nvinfer1::DataType::kUINT8:
      return 2;
    default:
      return -1;
  }
}

}  // namespace

// Members are destroyed in the reverse order, as TensorRT wants it.
struct fxsr_engine {
  std::unique_ptr<nvinfer1::IRuntime> runtime;
  std::unique_ptr<nvinfer1::ICudaEngine> engine;
#ifdef TRT_MAJOR_RTX
  std::unique_ptr<nvinfer1::IRuntimeConfig> config;
  std::unique_ptr<nvinfer1::IRuntimeCache> cache;
#endif
};

struct fxsr_engine_context {
  std::unique_ptr<nvinfer1::IExecutionContext> context;
  int profile = 0;  // a new context has this one
  std::vector<std::string> inputs;
};

namespace {

int load(const char *path, fxsr_engine_maker *maker, int32_t *version, char *why, size_t room) {
  return guarded(why, room, [&] {
    const fxsr::Library library(path);  // stays loaded
    auto *get_version = library.find<int32_t()>("getInferLibVersion");
    *maker = library.find<void *(void *, int32_t)>("createInferRuntime_INTERNAL");
    if (!get_version || !*maker) fail(FXSR_NO_RUNTIME, path, " is no library of ", kFlavour);
    *version = get_version();
    if (*version / 10000 != NV_TENSORRT_MAJOR) {
      fail(FXSR_NO_RUNTIME, path, " has version ", *version / 10000, ".", *version / 100 % 100,
           ", but this library was built for ", kLibrary);
    }
  });
}

int open(fxsr_engine_maker maker, const void *plan, size_t bytes, int host_code, const void *compiled,
         size_t compiled_bytes, fxsr_engine **engine, char *why, size_t room) {
  return guarded(why, room, [&] {
    auto made = std::make_unique<fxsr_engine>();
    made->runtime.reset(static_cast<nvinfer1::IRuntime *>(maker(&log(), NV_TENSORRT_VERSION)));
    if (!made->runtime) fail_with_log(FXSR_NO_DEVICE, "TensorRT can't be used");
    if (host_code) made->runtime->setEngineHostCodeAllowed(true);  // the engine holds code for later versions
    made->engine.reset(made->runtime->deserializeCudaEngine(plan, bytes));
    if (!made->engine) fail_with_log(FXSR_BAD_MODEL, "it can't be loaded");
#ifdef TRT_MAJOR_RTX
    made->config.reset(made->engine->createRuntimeConfig());
    if (!made->config) fail_with_log(FXSR_FAILED, "TensorRT-RTX gives no configuration");
    made->config->setExecutionContextAllocationStrategy(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED);
    made->cache.reset(made->config->createRuntimeCache());
    if (made->cache) {
      if (compiled) made->cache->deserialize(compiled, compiled_bytes);  // false: another driver's; it stays empty
      made->config->setRuntimeCache(*made->cache);
    }
    // there are few shapes: compile kernels for each right away
    made->config->setDynamicShapesKernelSpecializationStrategy(
        nvinfer1::DynamicShapesKernelSpecializationStrategy::kEAGER);
#else
    static_cast<void>(compiled);
    static_cast<void>(compiled_bytes);
#endif
    *engine = made.release();
  });
}

void close(fxsr_engine *engine) { delete engine; }

const char *tensor(const fxsr_engine *engine, int index, int *type, int *is_input) {
  if (index >= engine->engine->getNbIOTensors()) return nullptr;
  const char *name = engine->engine->getIOTensorName(index);
  if (!name) return nullptr;
  *type = type_number(engine->engine->getTensorDataType(name));
  *is_input = engine->engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
  return name;
}

void compiled(const fxsr_engine *engine, void (*take)(void *, const void *, size_t), void *target) {
#ifdef TRT_MAJOR_RTX
  if (!engine->cache) return;
  const std::unique_ptr<nvinfer1::IHostMemory> kernels(engine->cache->serialize());
  if (kernels) take(target, kernels->data(), kernels->size());
#else
  static_cast<void>(engine);
  static_cast<void>(take);
  static_cast<void>(target);
#endif
}

int context(fxsr_engine *engine, fxsr_engine_context **context, char *why, size_t room) {
  return guarded(why, room, [&] {
    auto made = std::make_unique<fxsr_engine_context>();
#ifdef TRT_MAJOR_RTX
    made->context.reset(engine->engine->createExecutionContext(engine->config.get()));
#else
    made->context.reset(
        engine->engine->createExecutionContext(nvinfer1::ExecutionContextAllocationStrategy::kUSER_MANAGED));
#endif
    if (!made->context) fail_with_log(FXSR_FAILED, "TensorRT can't create an execution context");
    *context = made.release();
  });
}

void context_free(fxsr_engine_context *context) { delete context; }

int prepare(fxsr_engine_context *context, int profile, const fxsr_engine_input *inputs, int count, void *stream,
            uint64_t *scratch, char *why, size_t room) {
  return guarded(why, room, [&] {
    nvinfer1::IExecutionContext &to = *context->context;
    if (profile != context->profile) {
      if (!to.setOptimizationProfileAsync(profile, static_cast<cudaStream_t>(stream))) {
        fail_with_log(FXSR_FAILED, "TensorRT refuses the profile");
      }
      context->profile = profile;
    }
    context->inputs.clear();
    for (const fxsr_engine_input *input = inputs; input != inputs + count; ++input) {
      nvinfer1::Dims shape{};
      shape.nbDims = 4;
      for (int axis = 0; axis < 4; ++axis) {
        shape.d[axis] = static_cast<std::remove_reference_t<decltype(shape.d[0])>>(input->shape[axis]);
      }
      if (!to.setInputShape(input->name, shape)) fail_with_log(FXSR_FAILED, "TensorRT refuses a shape");
      context->inputs.emplace_back(input->name);
    }
    if (to.inferShapes(0, nullptr) != 0) fail_with_log(FXSR_FAILED, "TensorRT does not take these shapes together");
    *scratch = static_cast<uint64_t>(to.updateDeviceMemorySizeForShapes());
    if (*scratch == 0 && Log::first() != "it gave no reason") fail_with_log(FXSR_FAILED, "TensorRT refuses the shapes");
  });
}

int run(fxsr_engine_context *context, void *const *addresses, void *scratch, uint64_t bytes, void *stream, char *why,
        size_t room) {
  return guarded(why, room, [&] {
    nvinfer1::IExecutionContext &on = *context->context;
    on.setDeviceMemoryV2(scratch, static_cast<int64_t>(bytes));
    bool fine = true;
    for (const std::string &name : context->inputs) fine = on.setTensorAddress(name.c_str(), *addresses++) && fine;
    fine = on.setTensorAddress("sr", *addresses) && fine;
    if (!fine) fail_with_log(FXSR_FAILED, "TensorRT refuses an address");
    if (!on.enqueueV3(static_cast<cudaStream_t>(stream)))
      fail_with_log(FXSR_FAILED, "TensorRT failed to run the engine");
  });
}

}  // namespace

const fxsr_engine_api *fxsr_trt_api(void) {
  static const fxsr_engine_api api{FXSR_ENGINE_API, kFlavour, kLibrary, load,         open,    close,
                                   tensor,          compiled, context,  context_free, prepare, run};
  return &api;
}
