#include "cuda.hpp"

#include "error.hpp"

namespace fxsr {
namespace {

#ifdef _WIN32
constexpr const char *kDriver = "nvcuda.dll";
#else
constexpr const char *kDriver = "libcuda.so.1";
#endif

using Pointer = unsigned long long;  // CUdeviceptr

Library load_driver() {
  try {
    return Library(kDriver);
  } catch (const Error &error) {
    fail(FXSR_NO_DEVICE, "there is no NVIDIA driver (", error.what(), "); use FXSR_CPU_PROVIDER and host memory");
  }
}

template <typename... Arguments>
int call(const Library &library, const char *name, Arguments... arguments) {
  auto *function = library.find<int(Arguments...)>(name);
  if (!function) fail(FXSR_NO_DEVICE, "the NVIDIA driver is too old: it has no ", name);
  return function(arguments...);
}

Pointer pointer(const void *address) { return static_cast<Pointer>(reinterpret_cast<uintptr_t>(address)); }

}  // namespace

CudaDriver::Current::Current(const CudaDriver &driver) : driver_(driver) {
  driver_.check(call(driver_.library_, "cuCtxPushCurrent_v2", driver_.context_), "cuCtxPushCurrent");
}

CudaDriver::Current::~Current() {
  void *previous = nullptr;
  if (auto *pop = driver_.library_.find<int(void **)>("cuCtxPopCurrent_v2")) pop(&previous);
}

CudaDriver::CudaDriver(int device) : library_(load_driver()) {
  int count = 0;
  if (call(library_, "cuInit", 0u) != 0 || call(library_, "cuDeviceGetCount", &count) != 0) {
    fail(FXSR_NO_DEVICE, "the NVIDIA driver finds no usable GPU; use FXSR_CPU_PROVIDER and host memory");
  }
  if (device < 0 || device >= count) fail(FXSR_NO_DEVICE, "there is no GPU ", device, "; this machine has ", count);
  check(call(library_, "cuDeviceGet", &device_, device), "cuDeviceGet");
  check(call(library_, "cuDevicePrimaryCtxRetain", &context_, device_), "cuDevicePrimaryCtxRetain");
}

CudaDriver::~CudaDriver() {
  if (auto *release = library_.find<int(int)>("cuDevicePrimaryCtxRelease_v2")) release(device_);
}

void CudaDriver::download(void *to, const void *from, size_t bytes, void *stream) const {
  const Current current(*this);
  start_download(to, from, bytes, stream);
  sync(stream);
}

void CudaDriver::upload(void *to, const void *from, size_t bytes, void *stream) const {
  const Current current(*this);
  start_upload(to, from, bytes, stream);
  sync(stream);
}

std::string CudaDriver::name() const {
  char text[256] = "";
  check(call(library_, "cuDeviceGetName", static_cast<char *>(text), static_cast<int>(sizeof text), device_),
        "cuDeviceGetName");
  return text;
}

std::string CudaDriver::capability() const {
  constexpr int kMajor = 75, kMinor = 76;  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_...
  int major = 0, minor = 0;
  check(call(library_, "cuDeviceGetAttribute", &major, kMajor, device_), "cuDeviceGetAttribute");
  check(call(library_, "cuDeviceGetAttribute", &minor, kMinor, device_), "cuDeviceGetAttribute");
  return sentence(major, ".", minor);
}

void CudaDriver::start_download(void *to, const void *from, size_t bytes, void *stream) const {
  check(call(library_, "cuMemcpyDtoHAsync_v2", to, pointer(from), bytes, stream), "cuMemcpyDtoHAsync");
}

void CudaDriver::start_upload(void *to, const void *from, size_t bytes, void *stream) const {
  check(call(library_, "cuMemcpyHtoDAsync_v2", pointer(to), from, bytes, stream), "cuMemcpyHtoDAsync");
}

void CudaDriver::sync(void *stream) const {
  check(call(library_, "cuStreamSynchronize", stream), "cuStreamSynchronize");
}

void *CudaDriver::allocate(size_t bytes) const {
  Pointer memory = 0;
  check(call(library_, "cuMemAlloc_v2", &memory, bytes), "cuMemAlloc");
  return reinterpret_cast<void *>(static_cast<uintptr_t>(memory));
}

void CudaDriver::free(void *memory) const noexcept {
  if (auto *release = library_.find<int(Pointer)>("cuMemFree_v2")) release(pointer(memory));
}

void *CudaDriver::make_stream() const {
  constexpr unsigned kNonBlocking = 1;
  void *stream = nullptr;
  check(call(library_, "cuStreamCreate", &stream, kNonBlocking), "cuStreamCreate");
  return stream;
}

void CudaDriver::free_stream(void *stream) const noexcept {
  if (auto *release = library_.find<int(void *)>("cuStreamDestroy_v2")) release(stream);
}

void CudaDriver::check(int result, const char *what) const {
  constexpr int kOutOfMemory = 2;
  if (result == kOutOfMemory) fail(FXSR_NO_MEMORY, "the GPU has too little memory (", what, "); use smaller tiles");
  if (result != 0) fail(FXSR_FAILED, what, " failed with CUDA error ", result);
}

}  // namespace fxsr
