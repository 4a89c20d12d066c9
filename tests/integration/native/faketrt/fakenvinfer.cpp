// A stand-in for TensorRT's library, which runs ONNX Runtime on a GPU whose
// memory is host memory (fakecuda.c).
//
// A plan is "fake", the number of profiles, for each profile the number of
// inputs, for each input its name and four least and four largest sizes, then a
// message with which runs fail or "-", a newline and the bytes of an ONNX file.
// It refuses what TensorRT refuses: shapes outside the profile, and work
// without shapes, addresses or scratch memory.
#include <NvInferRuntime.h>
#include <dlfcn.h>
#include <onnxruntime_c_api.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

extern "C" int cuMemHolds(const void *address, size_t bytes);  // fakecuda.c
extern "C" int cuCtxIsCurrent(void);

namespace {

using namespace nvinfer1;
using Shape = std::array<int64_t, 4>;

void require(bool held) {
  if (!held) std::abort();
}

const OrtApi &ort() {
  static const OrtApi *const api = [] {
    void *library = dlopen(std::getenv("FXSR_ONNXRUNTIME"), RTLD_NOW | RTLD_NODELETE);
    require(library);
    return reinterpret_cast<const OrtApiBase *(*)()>(dlsym(library, "OrtGetApiBase"))()->GetApi(12);
  }();
  return *api;
}

void check(OrtStatus *status) { require(!status); }

struct Range {
  Shape least, most;
};

struct Plan {
  ILogger *log;
  std::vector<std::map<std::string, Range>> profiles;
  std::string failure;
  OrtEnv *env = nullptr;
  OrtSession *session = nullptr;
  std::vector<std::string> names;  // inputs, then the output
  std::vector<ONNXTensorElementDataType> types;
  size_t inputs = 0;
};

class Context : public IExecutionContext {
 public:
  explicit Context(const Plan &plan) : plan_(plan) {}

  bool setOptimizationProfileAsync(int32_t index, cudaStream_t stream) noexcept override {
    require(stream && cuCtxIsCurrent());
    if (index < 0 || static_cast<size_t>(index) >= plan_.profiles.size()) return false;
    profile_ = static_cast<size_t>(index);
    shapes_.clear();
    return true;
  }
  bool setInputShape(const char *name, const Dims &shape) noexcept override {
    const auto range = plan_.profiles[profile_].find(name);
    require(range != plan_.profiles[profile_].end() && shape.nbDims == 4);
    for (size_t axis = 0; axis < 4; ++axis) {
      if (shape.d[axis] < range->second.least[axis] || shape.d[axis] > range->second.most[axis]) return error("shape");
      shapes_[name][axis] = shape.d[axis];
    }
    return true;
  }
  int32_t inferShapes(int32_t, const char **) noexcept override {
    return static_cast<int32_t>(plan_.inputs - shapes_.size());
  }
  size_t updateDeviceMemorySizeForShapes() noexcept override {
    return scratch_ = 100 * static_cast<size_t>(shapes_.at(plan_.names[0])[0]);
  }
  void setDeviceMemoryV2(void *memory, int64_t bytes) noexcept override {
    require(static_cast<size_t>(bytes) >= scratch_ && cuMemHolds(memory, scratch_));
    std::memset(memory, 0xEE, scratch_);
  }
  bool setTensorAddress(const char *name, void *address) noexcept override {
    addresses_[name] = address;
    return true;
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    require(stream && cuCtxIsCurrent() && inferShapes(0, nullptr) == 0);
    if (!plan_.failure.empty()) return error(plan_.failure.c_str());
    OrtMemoryInfo *memory = nullptr;
    check(ort().CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    std::vector<OrtValue *> values;
    std::vector<const char *> names;
    for (size_t index = 0; index < plan_.names.size(); ++index) {
      Shape shape = shapes_.at(plan_.names[index < plan_.inputs ? index : 0]);
      const bool last = plan_.types[index] == ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 && plan_.names[index] != "t_map";
      if (index == plan_.inputs) shape = output(shape, last);
      const size_t element = plan_.types[index] == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT     ? 4
                             : plan_.types[index] == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? 2
                                                                                           : 1;
      const auto bytes = element * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]);
      void *const address = addresses_.at(plan_.names[index]);
      require(cuMemHolds(address, bytes));
      values.push_back(nullptr);
      names.push_back(plan_.names[index].c_str());
      check(ort().CreateTensorWithDataAsOrtValue(memory, address, bytes, shape.data(), 4, plan_.types[index],
                                                 &values.back()));
    }
    check(
        ort().Run(plan_.session, nullptr, names.data(), values.data(), plan_.inputs, &names.back(), 1, &values.back()));
    for (OrtValue *value : values) ort().ReleaseValue(value);
    ort().ReleaseMemoryInfo(memory);
    return true;
  }

 private:
  static Shape output(const Shape &image, bool last) {
    if (last) return {image[0], 4 * image[1], 4 * image[2], 3};
    return {image[0], 3, 4 * image[2], 4 * image[3]};
  }
  bool error(const char *text) noexcept {
    plan_.log->log(ILogger::Severity::kERROR, text);
    plan_.log->log(ILogger::Severity::kERROR, "a later error about something else");
    return false;
  }

  const Plan &plan_;
  size_t profile_ = 0, scratch_ = 0;
  std::map<std::string, Shape> shapes_;
  std::map<std::string, void *> addresses_;
};

#ifdef FAKE_TRT_RTX
class Kernels : public IHostMemory {
 public:
  explicit Kernels(std::string text) : text_(std::move(text)) {}
  void *data() const noexcept override { return const_cast<char *>(text_.data()); }
  size_t size() const noexcept override { return text_.size(); }

 private:
  std::string text_;
};

class Cache : public IRuntimeCache {
 public:
  IHostMemory *serialize() const noexcept override { return new Kernels(text_ + "kernels;"); }
  bool deserialize(const void *bytes, size_t count) noexcept override {
    text_.assign(static_cast<const char *>(bytes), count);
    return true;
  }

 private:
  std::string text_;
};

class Config : public IRuntimeConfig {
 public:
  void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept override {
    is_user_managed = strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED;
  }
  IRuntimeCache *createRuntimeCache() const noexcept override { return new Cache; }
  bool setRuntimeCache(const IRuntimeCache &) noexcept override { return true; }
  void setDynamicShapesKernelSpecializationStrategy(DynamicShapesKernelSpecializationStrategy) noexcept override {}
  bool is_user_managed = false;
};
#endif

class Engine : public ICudaEngine {
 public:
  explicit Engine(std::unique_ptr<Plan> plan) : plan_(std::move(plan)) {}
  ~Engine() override {
    ort().ReleaseSession(plan_->session);
    ort().ReleaseEnv(plan_->env);
  }
  int32_t getNbIOTensors() const noexcept override { return static_cast<int32_t>(plan_->names.size()); }
  const char *getIOTensorName(int32_t index) const noexcept override {
    return plan_->names[static_cast<size_t>(index)].c_str();
  }
  DataType getTensorDataType(const char *name) const noexcept override {
    const auto type = plan_->types[find(name)];
    return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT     ? DataType::kFLOAT
           : type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? DataType::kHALF
                                                           : DataType::kUINT8;
  }
  TensorIOMode getTensorIOMode(const char *name) const noexcept override {
    return find(name) < plan_->inputs ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
#ifdef FAKE_TRT_RTX
  IRuntimeConfig *createRuntimeConfig() noexcept override { return new Config; }
  IExecutionContext *createExecutionContext(IRuntimeConfig *config) noexcept override {
    require(static_cast<Config *>(config)->is_user_managed);
    return new Context(*plan_);
  }
#else
  IExecutionContext *createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept override {
    require(strategy == ExecutionContextAllocationStrategy::kUSER_MANAGED);
    return new Context(*plan_);
  }
#endif

 private:
  size_t find(const std::string &name) const {
    size_t index = 0;
    while (plan_->names.at(index) != name) ++index;
    return index;
  }
  std::unique_ptr<Plan> plan_;
};

class Runtime : public IRuntime {
 public:
  explicit Runtime(ILogger &log) : log_(log) {}
  void setEngineHostCodeAllowed(bool) noexcept override {}
  ICudaEngine *deserializeCudaEngine(const void *bytes, size_t count) noexcept override {
    require(cuCtxIsCurrent());
    const std::string text(static_cast<const char *>(bytes), count);
    if (text.substr(0, 5) != "fake ") {
      log_.log(ILogger::Severity::kERROR, "magicTag == kEXPECTED_MAGIC_TAG failed");
      return nullptr;
    }
    auto plan = std::make_unique<Plan>();
    plan->log = &log_;
    const size_t end = text.find('\n');
    std::istringstream head(text.substr(5, end - 5));
    size_t profiles = 0, inputs = 0;
    head >> profiles;
    plan->profiles.resize(profiles);
    for (auto &profile : plan->profiles) {
      head >> inputs;
      for (size_t index = 0; index < inputs; ++index) {
        std::string name;
        head >> name;
        for (int64_t &size : profile[name].least) head >> size;
        for (int64_t &size : profile[name].most) head >> size;
      }
    }
    std::getline(head >> std::ws, plan->failure);
    if (plan->failure == "-") plan->failure.clear();
    open(*plan, text.substr(end + 1));
    return new Engine(std::move(plan));
  }

 private:
  static void open(Plan &plan, const std::string &graph) {
    OrtSessionOptions *options = nullptr;
    OrtAllocator *allocator = nullptr;
    check(ort().CreateEnv(ORT_LOGGING_LEVEL_FATAL, "fake", &plan.env));
    check(ort().CreateSessionOptions(&options));
    check(ort().SetIntraOpNumThreads(options, 1));
    check(ort().CreateSessionFromArray(plan.env, graph.data(), graph.size(), options, &plan.session));
    ort().ReleaseSessionOptions(options);
    check(ort().GetAllocatorWithDefaultOptions(&allocator));
    check(ort().SessionGetInputCount(plan.session, &plan.inputs));
    for (size_t index = 0; index <= plan.inputs; ++index) {
      char *name = nullptr;
      OrtTypeInfo *type = nullptr;
      const OrtTensorTypeAndShapeInfo *tensor = nullptr;
      if (index < plan.inputs) {
        check(ort().SessionGetInputName(plan.session, index, allocator, &name));
        check(ort().SessionGetInputTypeInfo(plan.session, index, &type));
      } else {
        check(ort().SessionGetOutputName(plan.session, 0, allocator, &name));
        check(ort().SessionGetOutputTypeInfo(plan.session, 0, &type));
      }
      plan.names.emplace_back(name);
      allocator->Free(allocator, name);
      check(ort().CastTypeInfoToTensorInfo(type, &tensor));
      plan.types.emplace_back();
      check(ort().GetTensorElementType(tensor, &plan.types.back()));
      ort().ReleaseTypeInfo(type);
    }
  }
  ILogger &log_;
};

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
EXPORT int32_t getInferLibVersion() noexcept { return NV_TENSORRT_VERSION; }
EXPORT void *createInferRuntime_INTERNAL(void *log, int32_t version) noexcept {
  require(version == NV_TENSORRT_VERSION && cuCtxIsCurrent());
  return new Runtime(*static_cast<ILogger *>(log));
}
