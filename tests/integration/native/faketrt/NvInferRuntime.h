// A stand-in for TensorRT's header: the names that libfxsr_trt uses, as plain
// interfaces. fakenvinfer.cpp implements it. FAKE_TRT_MAJOR is the version that
// it stands for; with FAKE_TRT_RTX, it stands for TensorRT-RTX 1.7.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#ifdef FAKE_TRT_RTX
#define TRT_MAJOR_RTX 1
#define NV_TENSORRT_MAJOR 1
#define NV_TENSORRT_VERSION 10701
#elif !defined(FAKE_TRT_MAJOR) || FAKE_TRT_MAJOR == 10
#define NV_TENSORRT_MAJOR 10
#define NV_TENSORRT_VERSION 100600
#else
#define NV_TENSORRT_MAJOR 11
#define NV_TENSORRT_VERSION 110201
#endif

namespace nvinfer1 {

enum class DataType : int32_t { kFLOAT = 0, kHALF = 1, kINT8 = 2, kINT32 = 3, kBOOL = 4, kUINT8 = 5 };
enum class TensorIOMode : int32_t { kNONE = 0, kINPUT = 1, kOUTPUT = 2 };
enum class ExecutionContextAllocationStrategy : int32_t { kSTATIC = 0, kON_PROFILE_CHANGE = 1, kUSER_MANAGED = 2 };

struct Dims {
  int32_t nbDims;
  int64_t d[8];
};

class ILogger {
 public:
  enum class Severity : int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2, kINFO = 3, kVERBOSE = 4 };
  virtual void log(Severity severity, const char *message) noexcept = 0;
  virtual ~ILogger() = default;
};

class IExecutionContext {
 public:
  virtual ~IExecutionContext() = default;
  virtual bool setOptimizationProfileAsync(int32_t index, cudaStream_t stream) noexcept = 0;
  virtual bool setInputShape(const char *name, const Dims &shape) noexcept = 0;
  virtual int32_t inferShapes(int32_t most, const char **names) noexcept = 0;
  virtual size_t updateDeviceMemorySizeForShapes() noexcept = 0;
  virtual void setDeviceMemoryV2(void *memory, int64_t bytes) noexcept = 0;
  virtual bool setTensorAddress(const char *name, void *address) noexcept = 0;
  virtual bool enqueueV3(cudaStream_t stream) noexcept = 0;
};

#ifdef FAKE_TRT_RTX
enum class DynamicShapesKernelSpecializationStrategy : int32_t { kLAZY = 0, kEAGER = 1, kNONE = 2 };

class IHostMemory {
 public:
  virtual ~IHostMemory() = default;
  virtual void *data() const noexcept = 0;
  virtual size_t size() const noexcept = 0;
};

class IRuntimeCache {
 public:
  virtual ~IRuntimeCache() = default;
  virtual IHostMemory *serialize() const noexcept = 0;
  virtual bool deserialize(const void *bytes, size_t count) noexcept = 0;
};

class IRuntimeConfig {
 public:
  virtual ~IRuntimeConfig() = default;
  virtual void setExecutionContextAllocationStrategy(ExecutionContextAllocationStrategy strategy) noexcept = 0;
  virtual IRuntimeCache *createRuntimeCache() const noexcept = 0;
  virtual bool setRuntimeCache(const IRuntimeCache &cache) noexcept = 0;
  virtual void setDynamicShapesKernelSpecializationStrategy(
      DynamicShapesKernelSpecializationStrategy strategy) noexcept = 0;
};
#endif

class ICudaEngine {
 public:
  virtual ~ICudaEngine() = default;
  virtual int32_t getNbIOTensors() const noexcept = 0;
  virtual const char *getIOTensorName(int32_t index) const noexcept = 0;
  virtual DataType getTensorDataType(const char *name) const noexcept = 0;
  virtual TensorIOMode getTensorIOMode(const char *name) const noexcept = 0;
#ifdef FAKE_TRT_RTX
  virtual IRuntimeConfig *createRuntimeConfig() noexcept = 0;
  virtual IExecutionContext *createExecutionContext(IRuntimeConfig *config) noexcept = 0;
#else
  virtual IExecutionContext *createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept = 0;
#endif
};

class IRuntime {
 public:
  virtual ~IRuntime() = default;
  virtual ICudaEngine *deserializeCudaEngine(const void *plan, size_t bytes) noexcept = 0;
  virtual void setEngineHostCodeAllowed(bool allowed) noexcept = 0;
};

}  // namespace nvinfer1
