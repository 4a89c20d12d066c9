#include "engine.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "error.hpp"

#ifndef _WIN32
#include <dlfcn.h>
#endif

namespace fxsr {
namespace {

// A sentence that libfxsr_trt writes.
struct Why {
  char text[512] = "";
  void check(int status) const {
    if (status != FXSR_OK) throw Error(status, text);
  }
};

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

// The folder of this library, with a slash; empty if it is unknown.
std::string own_folder() {
#ifndef _WIN32
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void *>(&fxsr_abi), &info) != 0 && info.dli_fname) {
    const std::string path = info.dli_fname;
    return path.substr(0, path.rfind('/') + 1);
  }
#endif
  return {};
}

const fxsr_engine_api &load_api(const EngineFacts &facts) {
  const std::string name = facts.is_rtx() ? "libfxsr_trt_rtx.so.1" : "libfxsr_trt.so.1",
                    given = environment("FXSR_TRT");
  std::string reason;
  for (const std::string &path : given.empty() ? std::vector{own_folder() + name, name} : std::vector{given}) {
    try {
      const Library library(path);  // stays loaded
      auto *get = library.find<const fxsr_engine_api *()>("fxsr_trt_api");
      const fxsr_engine_api *api = get ? get() : nullptr;
      if (!api || api->version != FXSR_ENGINE_API) fail(FXSR_NO_RUNTIME, path, " is no part of this libfxsr");
      if (api->flavour != facts.flavour) {
        fail(FXSR_NO_RUNTIME, path, " is for engines of ", api->flavour, ", and this one is of ", facts.flavour);
      }
      return *api;
    } catch (const Error &error) {
      if (reason.empty()) reason = error.what();
    }
  }
  fail(FXSR_NO_RUNTIME, "the part of this library that runs engines can't be loaded (", reason,
       "); build it with -DTENSORRT_INCLUDE=..., and set FXSR_TRT to it");
}

std::string tensorrt_path(const GraphOptions &options, const fxsr_engine_api &api) {
  if (!options.tensorrt.empty()) return options.tensorrt;
  const std::string given = environment("FXSR_TENSORRT");
  return given.empty() ? api.library : given;
}

// GPU memory that grows when more is asked for.
class DeviceBlock {
 public:
  explicit DeviceBlock(const CudaDriver &driver) : driver_(driver) {}
  ~DeviceBlock() { release(); }
  DeviceBlock(const DeviceBlock &) = delete;
  DeviceBlock &operator=(const DeviceBlock &) = delete;

  // At least this size; contents are undefined. Nothing may be using the block.
  void *reserve(size_t bytes) {
    if (bytes > size_) {
      release();
      memory_ = driver_.allocate(bytes);
      size_ = bytes;
    }
    return memory_;
  }

 private:
  void release() {
    if (memory_) driver_.free(memory_);
    memory_ = nullptr;
    size_ = 0;
  }

  const CudaDriver &driver_;
  void *memory_ = nullptr;
  size_t size_ = 0;
};

}  // namespace

// One execution context per profile, since changing a context's profile is slow; they share memory, as they take turns.
class Engine::Contexts : public Runner {
 public:
  explicit Contexts(const Engine &engine) : engine_(engine), driver_(engine.driver_), blocks_(new Blocks(driver_)) {
    const CudaDriver::Current current(driver_);
    stream_ = driver_.make_stream();
  }

  ~Contexts() override {
    try {
      const CudaDriver::Current current(driver_);
      for (const auto &[profile, each] : contexts_) engine_.api_->context_free(each.context);
      blocks_.reset();
      driver_.free_stream(stream_);
    } catch (const Error &) {  // the GPU is gone
    }
  }

  void run(const std::vector<Tensor> &inputs, const Tensor &output, void *given) override {
    const CudaDriver::Current current(driver_);
    void *const stream = given ? given : stream_;
    try {
      submit(inputs, output, stream);
    } catch (...) {
      try {
        driver_.sync(stream);  // copies may still read the inputs
      } catch (const Error &) {
      }
      throw;
    }
    driver_.sync(stream);
  }

 private:
  struct Context {
    fxsr_engine_context *context = nullptr;
    Shapes shapes;
    uint64_t scratch = 0;
  };
  struct Blocks {
    explicit Blocks(const CudaDriver &driver)
        : inputs{DeviceBlock(driver), DeviceBlock(driver)}, sr(driver), scratch(driver) {}
    DeviceBlock inputs[2], sr, scratch;
  };

  void submit(const std::vector<Tensor> &inputs, const Tensor &output, void *stream) {
    const DataType type = engine_.facts().type;
    const Context &context = prepared(inputs, stream);
    void *scratch = context.scratch ? blocks_->scratch.reserve(context.scratch) : nullptr;
    std::vector<void *> addresses;
    for (const Tensor &input : inputs) {
      const size_t bytes = tensor_bytes(type, input.shape);
      void *const memory = blocks_->inputs[addresses.size()].reserve(bytes);
      driver_.start_upload(memory, input.data, bytes, stream);
      addresses.push_back(memory);
    }
    const size_t bytes = tensor_bytes(type, output.shape);
    addresses.push_back(blocks_->sr.reserve(bytes));
    Why why;
    why.check(engine_.api_->run(context.context, addresses.data(), scratch, context.scratch, stream, why.text,
                                sizeof why.text));
    driver_.start_download(output.data, addresses.back(), bytes, stream);
  }

  // The context for inputs of these shapes.
  const Context &prepared(const std::vector<Tensor> &inputs, void *stream) {
    const Facts &facts = engine_.facts();
    Shapes shapes;
    std::vector<fxsr_engine_input> given;
    for (size_t index = 0; index < inputs.size(); ++index) {
      const Shape &shape = inputs[index].shape;
      shapes[facts.inputs[index].name] = shape;
      given.push_back({facts.inputs[index].name.c_str(), {shape[0], shape[1], shape[2], shape[3]}});
    }
    const int profile = engine_.engine_facts_.profile_for(shapes);
    if (profile < 0) {
      const Shape &shape = inputs.front().shape;
      fail(FXSR_BAD_MODEL, "no profile of the engine takes ", facts.inputs.front().name, " of shape ", shape[0], "x",
           shape[1], "x", shape[2], "x", shape[3], " with this style; export it again");
    }
    Context &context = contexts_[profile];
    const fxsr_engine_api &api = *engine_.api_;
    Why why;
    if (!context.context) {
      why.check(api.context(engine_.engine_, &context.context, why.text, sizeof why.text));
    }
    if (context.shapes != shapes) {
      context.shapes.clear();  // if it fails, this is tried again
      why.check(api.prepare(context.context, profile, given.data(), static_cast<int>(given.size()), stream,
                            &context.scratch, why.text, sizeof why.text));
      driver_.sync(stream);  // the next run may be on another
      context.shapes = std::move(shapes);
    }
    return context;
  }

  const Engine &engine_;
  const CudaDriver &driver_;
  std::unique_ptr<Blocks> blocks_;
  std::map<int, Context> contexts_;  // by profile
  void *stream_ = nullptr;
};

namespace {

CudaDriver open_driver(int device) {
  try {
    return CudaDriver(device);
  } catch (const Error &error) {
    throw Error(error.status(), sentence("an engine needs an NVIDIA GPU, the .onnx file runs without: ", error.what()));
  }
}

}  // namespace

// The driver comes first: without one, TensorRT ends the process, or crashes.
Engine::Engine(std::string_view file, EngineFacts facts, const GraphOptions &options)
    : engine_facts_(std::move(facts)), device_(options.device), driver_(open_driver(options.device)) {
  facts_ = engine_facts_.model;
  limits_ = engine_facts_.limits();
  if (engine_facts_.strip_weights) {
    fail(FXSR_BAD_MODEL, "it holds no weights, which this library can't add; export it without --strip-weights");
  }
  const CudaDriver::Current current(driver_);
  const std::string name = driver_.name();
  engine_facts_.check_gpu(name, driver_.capability());
  api_ = &load_api(engine_facts_);
  const std::string library = tensorrt_path(options, *api_);
  Why why;
  int32_t version = 0;
  fxsr_engine_maker maker = nullptr;
  if (api_->load(library.c_str(), &maker, &version, why.text, sizeof why.text) != FXSR_OK) {
    fail(FXSR_NO_RUNTIME, "TensorRT can't be loaded (", why.text,
         "); set FXSR_TENSORRT or fxsr_options.tensorrt to its library");
  }
  engine_facts_.check_version(version);
  std::string compiled;
  if (!options.cache.empty() && engine_facts_.is_rtx()) {
    cache_path_ = sentence(options.cache, "/", engine_facts_.sha256.substr(0, 16), "-", version, "-", name, ".cache");
    std::ifstream cache(cache_path_, std::ios::binary);
    compiled.assign(std::istreambuf_iterator<char>(cache), {});
  }
  why.check(api_->open(maker, file.data(), file.size(), engine_facts_.version_compatible,
                       compiled.empty() ? nullptr : compiled.data(), compiled.size(), &engine_, why.text,
                       sizeof why.text));
  try {
    check_tensors();
  } catch (...) {
    api_->close(engine_);
    throw;
  }
}

Engine::~Engine() {
  try {
    const CudaDriver::Current current(driver_);
    keep_compiled();
    api_->close(engine_);
  } catch (...) {  // the GPU is gone
  }
}

// Save the kernels that TensorRT-RTX has compiled, as a whole or not at all.
void Engine::keep_compiled() const {
  if (cache_path_.empty()) return;
  std::string kernels;
  api_->compiled(
      engine_,
      [](void *target, const void *bytes, size_t count) {
        try {
          static_cast<std::string *>(target)->assign(static_cast<const char *>(bytes), count);
        } catch (const std::bad_alloc &) {  // then nothing is kept
        }
      },
      &kernels);
  if (kernels.empty()) return;
  const std::string temporary = sentence(cache_path_, ".", reinterpret_cast<uintptr_t>(this));
  {
    std::ofstream file(temporary, std::ios::binary);
    file.write(kernels.data(), static_cast<std::streamsize>(kernels.size()));
    file.close();
    if (file.good() && std::rename(temporary.c_str(), cache_path_.c_str()) == 0) return;
  }
  std::remove(temporary.c_str());
}

std::unique_ptr<Runner> Engine::runner() const { return std::make_unique<Contexts>(*this); }

// Compare the engine's inputs and output with its facts, which anyone can edit.
void Engine::check_tensors() const {
  constexpr DataType kTypes[] = {DataType::kFloat32, DataType::kFloat16, DataType::kUint8};
  size_t found = 0, same = 0;
  int type = 0, is_input = 0;
  for (; const char *name = api_->tensor(engine_, static_cast<int>(found), &type, &is_input); ++found) {
    for (const TensorFacts &each : is_input ? facts_.inputs : facts_.outputs) {
      same += each.name == name && type >= 0 && each.type == kTypes[type];
    }
  }
  const size_t wanted = facts_.inputs.size() + facts_.outputs.size();
  if (found != wanted || same != wanted) {
    fail(FXSR_BAD_MODEL, "its manifest promises other inputs or outputs than the engine has; export it again");
  }
}

}  // namespace fxsr
