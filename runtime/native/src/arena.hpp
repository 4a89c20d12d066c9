// A worker's memory: one block, in which the same code that measures what is needed also places it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <memory>
#include <new>

#include "error.hpp"

namespace fxsr {

// The product of sizes. Throws Error(FXSR_NO_MEMORY): it is more than can be addressed.
inline size_t product(std::initializer_list<size_t> sizes) {
  size_t total = 1;
  for (const size_t size : sizes) {
    if (size != 0 && total > static_cast<size_t>(std::numeric_limits<int64_t>::max()) / size) {
      fail(FXSR_NO_MEMORY, "the image needs more memory than any machine has; use smaller tiles");
    }
    total *= size;
  }
  return total;
}

// Places arrays one after another, from `base`; with a null base it only adds up their sizes.
class Layout {
 public:
  explicit Layout(std::byte *base) : base_(base) {}

  template <typename T>
  T *take(size_t count) {
    const size_t begin = used_;
    const size_t bytes = product({count, sizeof(T)});
    used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (used_ > kMost) fail(FXSR_NO_MEMORY, "the image needs more memory than any machine has; use smaller tiles");
    return base_ ? reinterpret_cast<T *>(base_ + begin) : nullptr;
  }

  size_t used() const { return used_; }

  static constexpr size_t kAlignment = 64;

 private:
  static constexpr size_t kMost = static_cast<size_t>(std::numeric_limits<int64_t>::max()) / 2;
  std::byte *base_;
  size_t used_ = 0;
};

// A block that grows when more is asked for, and is then kept.
class Arena {
 public:
  // A block of at least this size; its contents are undefined.
  std::byte *reserve(size_t bytes) {
    if (bytes > size_) {
      block_.reset();
      size_ = 0;
      block_.reset(static_cast<std::byte *>(::operator new(bytes, std::align_val_t(Layout::kAlignment))));
      size_ = bytes;
    }
    return block_.get();
  }

 private:
  struct Free {
    void operator()(std::byte *block) const { ::operator delete(block, std::align_val_t(Layout::kAlignment)); }
  };
  std::unique_ptr<std::byte, Free> block_;
  size_t size_ = 0;
};

}  // namespace fxsr
