#include "onnx_graph.hpp"

#include <onnxruntime_c_api.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <thread>

#include "cuda.hpp"
#include "error.hpp"
#include "library.hpp"

namespace fxsr {
namespace {

constexpr uint32_t kApi = 12;  // the first with SessionOptionsAppendExecutionProvider: ONNX Runtime 1.12, of 2022
#ifdef _WIN32
constexpr const char *kLibrary = "onnxruntime.dll";
#elif defined(__APPLE__)
constexpr const char *kLibrary = "libonnxruntime.dylib";
#else
constexpr const char *kLibrary = "libonnxruntime.so.1";
#endif

// An object of ONNX Runtime, freed by the function of its table.
template <typename T>
using Owned = std::unique_ptr<T, void(ORT_API_CALL *)(T *)>;

std::string library_path(const GraphOptions &options) {
  if (!options.onnxruntime.empty()) return options.onnxruntime;
  const char *given = std::getenv("FXSR_ONNXRUNTIME");
#ifdef FXSR_LINK_ONNXRUNTIME
  return given ? given : "";
#else
  return given && *given ? given : kLibrary;
#endif
}

// The library that is to be loaded; none where the linked one serves.
std::optional<Library> load_library(const GraphOptions &options) {
  const std::string path = library_path(options);
  if (path.empty()) return std::nullopt;
  try {
    return std::optional<Library>(std::in_place, path);
  } catch (const Error &error) {
    fail(FXSR_NO_RUNTIME, "ONNX Runtime can't be loaded (", error.what(),
         "); set FXSR_ONNXRUNTIME or fxsr_options.onnxruntime to its library");
  }
}

const OrtApi &find_api(const std::optional<Library> &library) {
  using GetBase = const OrtApiBase *();
#ifdef FXSR_LINK_ONNXRUNTIME
  GetBase *const linked = OrtGetApiBase;
#else
  GetBase *const linked = nullptr;
#endif
  GetBase *const get_base = library ? library->find<GetBase>("OrtGetApiBase") : linked;
  const OrtApi *api = get_base ? get_base()->GetApi(kApi) : nullptr;
  if (!api) fail(FXSR_NO_RUNTIME, "this library is no ONNX Runtime, or one before 1.", kApi);
  return *api;
}

DataType data_type(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT:
      return DataType::kFloat32;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16:
      return DataType::kFloat16;
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8:
      return DataType::kUint8;
    default:
      fail(FXSR_BAD_MODEL, "the graph has a tensor of a type that no model of fxsr has; export it again");
  }
}

ONNXTensorElementDataType ort_type(DataType type) {
  return type == DataType::kFloat32   ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
         : type == DataType::kFloat16 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16
                                      : ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
}

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n')).substr(0, 300)); }

bool contains(std::string_view text, std::initializer_list<std::string_view> parts) {
  for (const std::string_view part : parts) {
    if (text.find(part) != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

struct OnnxGraph::Runtime {
  explicit Runtime(const GraphOptions &options)
      : library(load_library(options)),
        api(find_api(library)),
        env(nullptr, api.ReleaseEnv),
        memory(nullptr, api.ReleaseMemoryInfo),
        session(nullptr, api.ReleaseSession) {}

  // Throws Error(status) with ONNX Runtime's message if it reports an error.
  void check(OrtStatus *raw, fxsr_status status, std::string_view what) const {
    if (!raw) return;
    const Owned<OrtStatus> owned(raw, api.ReleaseStatus);
    const std::string reason = api.GetErrorMessage(raw);
    // the codes of these errors differ between code paths
    if (contains(reason, {"Failed to allocate memory", "bad_alloc", "out of memory", "ALLOC_FAILED"})) {
      fail(FXSR_NO_MEMORY, "too little memory ", what, "; use smaller tiles, or fewer workers at once");
    }
    if (contains(reason, {"hape verification failed", "OutputMLValue"})) {
      fail(FXSR_BAD_MODEL, "its output has another size than its description says; export it again");
    }
    fail(status, "ONNX Runtime failed ", what, ": ", first_line(reason));
  }

  void open(std::string_view file, const GraphOptions &options);
  void add_provider(OrtSessionOptions *session_options, const GraphOptions &options, bool half) const;
  std::string metadata(const OrtSession *opened) const;

  std::optional<Library> library;
  const OrtApi &api;
  Owned<OrtEnv> env;
  Owned<OrtMemoryInfo> memory;
  Owned<OrtSession> session;
};

void OnnxGraph::Runtime::open(std::string_view file, const GraphOptions &options) {
  OrtEnv *new_env = nullptr;
  check(api.CreateEnv(ORT_LOGGING_LEVEL_FATAL, "fxsr", &new_env), FXSR_FAILED, "at its start");
  env.reset(new_env);
  check(api.DisableTelemetryEvents(env.get()), FXSR_FAILED, "at its start");
  OrtMemoryInfo *new_memory = nullptr;
  check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &new_memory), FXSR_FAILED, "at its start");
  memory.reset(new_memory);

  const auto create = [&](const GraphOptions &wanted, bool half) {
    OrtSessionOptions *raw = nullptr;
    check(api.CreateSessionOptions(&raw), FXSR_FAILED, "at its start");
    const Owned<OrtSessionOptions> session_options(raw, api.ReleaseSessionOptions);
    const unsigned cpus = std::max(1u, std::thread::hardware_concurrency());  // those of the affinity mask
    const int threads = wanted.threads ? wanted.threads : static_cast<int>(cpus);
    check(api.SetIntraOpNumThreads(raw, threads), FXSR_FAILED, "at its start");
    // patterns accumulate with every tile size, for hardly any gain
    check(api.DisableMemPattern(raw), FXSR_FAILED, "at its start");
    check(api.SetSessionLogSeverityLevel(raw, ORT_LOGGING_LEVEL_FATAL), FXSR_FAILED, "at its start");
    add_provider(raw, wanted, half);
    OrtSession *opened = nullptr;
    check(api.CreateSessionFromArray(env.get(), file.data(), file.size(), raw, &opened), FXSR_BAD_MODEL,
          "to load the model");
    session.reset(opened);
  };
  if (options.provider == FXSR_TENSORRT) {  // without its option for half precision it computes in float32
    GraphOptions plain = options;
    plain.provider = FXSR_CPU_PROVIDER;
    create(plain, false);
    const bool half = decode_facts(metadata(session.get())).precision == "fp16";
    create(options, half);
  } else {
    create(options, false);
  }
}

void OnnxGraph::Runtime::add_provider(OrtSessionOptions *session_options, const GraphOptions &options,
                                      bool half) const {
  const std::string device = std::to_string(options.device);
  const char *what = "to add the provider";
  if (options.provider == FXSR_CUDA_PROVIDER || options.provider == FXSR_TENSORRT) {
    OrtCUDAProviderOptionsV2 *raw = nullptr;
    check(api.CreateCUDAProviderOptions(&raw), FXSR_NO_DEVICE, what);
    const Owned<OrtCUDAProviderOptionsV2> cuda(raw, api.ReleaseCUDAProviderOptions);
    // an exhaustive search would stall at every new tile size, and tiles at the edges differ in size
    const char *names[] = {"device_id", "cudnn_conv_algo_search"}, *values[] = {device.c_str(), "HEURISTIC"};
    check(api.UpdateCUDAProviderOptions(raw, names, values, 2), FXSR_NO_DEVICE, what);
    if (options.provider == FXSR_TENSORRT) {
      OrtTensorRTProviderOptionsV2 *raw_trt = nullptr;
      check(api.CreateTensorRTProviderOptions(&raw_trt), FXSR_NO_DEVICE, what);
      const Owned<OrtTensorRTProviderOptionsV2> trt(raw_trt, api.ReleaseTensorRTProviderOptions);
      const char *trt_names[] = {"device_id", "trt_fp16_enable", "trt_engine_cache_enable", "trt_engine_cache_path"};
      const char *trt_values[] = {device.c_str(), half ? "1" : "0", "1", options.cache.c_str()};
      check(api.UpdateTensorRTProviderOptions(raw_trt, trt_names, trt_values, options.cache.empty() ? 2 : 4),
            FXSR_NO_DEVICE, what);
      check(api.SessionOptionsAppendExecutionProvider_TensorRT_V2(session_options, raw_trt), FXSR_NO_DEVICE, what);
    }
    check(api.SessionOptionsAppendExecutionProvider_CUDA_V2(session_options, raw), FXSR_NO_DEVICE, what);
  } else if (options.provider == FXSR_TENSORRT_RTX) {
    const char *names[] = {"device_id", "nv_runtime_cache_path"}, *values[] = {device.c_str(), options.cache.c_str()};
    check(api.SessionOptionsAppendExecutionProvider(session_options, "NvTensorRtRtx", names, values,
                                                    options.cache.empty() ? 1 : 2),
          FXSR_NO_DEVICE, what);
  }
}

std::string OnnxGraph::Runtime::metadata(const OrtSession *opened) const {
  OrtModelMetadata *raw = nullptr;
  check(api.SessionGetModelMetadata(opened, &raw), FXSR_FAILED, "to read the model's metadata");
  const Owned<OrtModelMetadata> metadata(raw, api.ReleaseModelMetadata);
  OrtAllocator *allocator = nullptr;
  check(api.GetAllocatorWithDefaultOptions(&allocator), FXSR_FAILED, "to read the model's metadata");
  char *text = nullptr;
  check(api.ModelMetadataLookupCustomMetadataMap(raw, allocator, kMetadataKey, &text), FXSR_FAILED,
        "to read the model's metadata");
  if (!text) fail(FXSR_BAD_MODEL, "an ONNX file, but not one that fxsr exported; make one with fxsr export");
  const auto free_text = [allocator](char *each) { allocator->Free(allocator, each); };
  const std::unique_ptr<char, decltype(free_text)> owned(text, free_text);
  return text;
}

OnnxGraph::OnnxGraph(std::string_view file, const GraphOptions &options) {
  if (options.provider != FXSR_CPU_PROVIDER) CudaDriver driver(options.device);  // providers fail late, or never
  runtime_ = std::make_unique<Runtime>(options);
  runtime_->open(file, options);
  facts_ = decode_facts(runtime_->metadata(runtime_->session.get()));
  check_tensors();
}

OnnxGraph::~OnnxGraph() = default;

std::unique_ptr<Runner> OnnxGraph::runner() const {
  class Shared : public Runner {  // a session takes calls of all threads
   public:
    explicit Shared(const OnnxGraph &graph) : graph_(graph) {}
    void run(const std::vector<Tensor> &inputs, const Tensor &output, void *) override { graph_.run(inputs, output); }

   private:
    const OnnxGraph &graph_;
  };
  return std::make_unique<Shared>(*this);
}

// Compare the graph's inputs and output with its facts, which anyone can edit.
void OnnxGraph::check_tensors() const {
  const OrtApi &api = runtime_->api;
  const OrtSession *session = runtime_->session.get();
  OrtAllocator *allocator = nullptr;
  const auto check = [this](OrtStatus *status) { runtime_->check(status, FXSR_FAILED, "to read the graph"); };
  check(api.GetAllocatorWithDefaultOptions(&allocator));
  const auto compare = [&](const std::vector<TensorFacts> &wanted, auto count, auto get_name, auto get_type) {
    size_t found = 0;
    check(count(session, &found));
    size_t same = 0;
    for (size_t index = 0; index < found; ++index) {
      char *raw_name = nullptr;
      check(get_name(session, index, allocator, &raw_name));
      const std::string name = raw_name;
      allocator->Free(allocator, raw_name);
      OrtTypeInfo *raw = nullptr;
      check(get_type(session, index, &raw));
      const Owned<OrtTypeInfo> info(raw, api.ReleaseTypeInfo);
      const OrtTensorTypeAndShapeInfo *tensor = nullptr;
      check(api.CastTypeInfoToTensorInfo(raw, &tensor));
      if (!tensor) continue;
      ONNXTensorElementDataType type;
      size_t axes = 0;
      check(api.GetTensorElementType(tensor, &type));
      check(api.GetDimensionsCount(tensor, &axes));
      std::vector<int64_t> shape(axes);
      check(api.GetDimensions(tensor, shape.data(), axes));
      for (const TensorFacts &each : wanted) {
        same += each.name == name && each.type == data_type(type) && each.shape == shape;
      }
    }
    if (found != wanted.size() || same != wanted.size()) {
      fail(FXSR_BAD_MODEL, "its description promises other inputs or outputs than the graph has; export it again");
    }
  };
  compare(facts_.inputs, api.SessionGetInputCount, api.SessionGetInputName, api.SessionGetInputTypeInfo);
  compare(facts_.outputs, api.SessionGetOutputCount, api.SessionGetOutputName, api.SessionGetOutputTypeInfo);
}

void OnnxGraph::run(const std::vector<Tensor> &inputs, const Tensor &output) const {
  const OrtApi &api = runtime_->api;
  const auto &[count, channels, height, width] = inputs.front().shape;
  const bool last = facts_.takes_bytes();
  const std::string what = sentence("on a tile of ", last ? height : width, "x", last ? channels : height);
  static_cast<void>(count);
  const auto wrap = [&](const Tensor &tensor) {
    OrtValue *value = nullptr;
    runtime_->check(
        api.CreateTensorWithDataAsOrtValue(runtime_->memory.get(), tensor.data, tensor_bytes(facts_.type, tensor.shape),
                                           tensor.shape.data(), tensor.shape.size(), ort_type(facts_.type), &value),
        FXSR_FAILED, what);
    return Owned<OrtValue>(value, api.ReleaseValue);
  };
  std::vector<Owned<OrtValue>> owned;
  std::array<const OrtValue *, 2> values{};
  std::array<const char *, 2> names{};
  for (size_t index = 0; index < inputs.size(); ++index) {
    owned.push_back(wrap(inputs[index]));
    values[index] = owned.back().get();
    names[index] = facts_.inputs[index].name.c_str();
  }
  const Owned<OrtValue> result = wrap(output);
  OrtValue *raw_result = result.get();
  const char *result_name = "sr";
  runtime_->check(api.Run(runtime_->session.get(), nullptr, names.data(), values.data(), inputs.size(), &result_name, 1,
                          &raw_result),
                  FXSR_FAILED, what);
}

}  // namespace fxsr
