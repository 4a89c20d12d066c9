// NVIDIA's driver, loaded only if a GPU is asked for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "library.hpp"

namespace fxsr {

class CudaDriver {
 public:
  // Throws Error(FXSR_NO_DEVICE): there is no driver, or no GPU of that number.
  explicit CudaDriver(int device);
  ~CudaDriver();

  // Copies are done when these functions return; they wait for this stream alone, never for the whole device.
  // Throw Error(FXSR_FAILED): the driver reports an error.
  void download(void *to, const void *from, size_t bytes, void *stream) const;
  void upload(void *to, const void *from, size_t bytes, void *stream) const;

 private:
  class Current;
  void check(int result, const char *what) const;

  Library library_;
  int device_ = 0;
  void *context_ = nullptr;
};

}  // namespace fxsr
