// NVIDIA's driver, loaded only if a GPU is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "library.hpp"

namespace fxsr {

class CudaDriver {
 public:
  // Throws Error(FXSR_NO_DEVICE): there is no driver, or no GPU of that number.
  explicit CudaDriver(int device);
  ~CudaDriver();
  CudaDriver(const CudaDriver &) = delete;
  CudaDriver &operator=(const CudaDriver &) = delete;

  // Makes the device's primary context, which CUDA's runtime uses too, that of this thread for a while.
  class Current {
   public:
    explicit Current(const CudaDriver &driver);
    ~Current();
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

   private:
    const CudaDriver &driver_;
  };

  // Copies are done when these functions return; they wait for this stream alone, never for the whole device.
  // Throw Error(FXSR_FAILED): the driver reports an error.
  void download(void *to, const void *from, size_t bytes, void *stream) const;
  void upload(void *to, const void *from, size_t bytes, void *stream) const;

  // What follows needs the context to be Current.
  std::string name() const;
  std::string capability() const;  // such as "8.9"
  void start_download(void *to, const void *from, size_t bytes, void *stream) const;
  void start_upload(void *to, const void *from, size_t bytes, void *stream) const;
  void sync(void *stream) const;
  // Throws Error(FXSR_NO_MEMORY).
  void *allocate(size_t bytes) const;
  void free(void *memory) const noexcept;
  void *make_stream() const;
  void free_stream(void *stream) const noexcept;

 private:
  void check(int result, const char *what) const;

  Library library_;
  int device_ = 0;
  void *context_ = nullptr;
};

}  // namespace fxsr
