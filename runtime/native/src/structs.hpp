// Structs of the interface, which may be older or newer than this library, and the error that a handle keeps.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>

#include "error.hpp"

namespace fxsr {

constexpr const char *kNoMemory = "too little memory; use smaller tiles, or fewer workers at once";

// A handle's last failure. Setting it never throws.
class LastError {
 public:
  int set(int status, const char *text) noexcept {
    try {
      text_ = text;
      fixed_ = nullptr;
    } catch (...) {
      fixed_ = kNoMemory;
    }
    return status;
  }
  const char *text() const { return fixed_ ? fixed_ : text_.c_str(); }

 private:
  std::string text_;
  const char *fixed_ = nullptr;
};

// Copy a caller's struct. Fields that an older caller does not know keep the value in `defaults`; those that only a
// newer one knows must be zero. Throws Error(FXSR_BAD_ARGUMENT).
template <typename Struct>
Struct read_struct(const Struct *given, Struct defaults, const char *name) {
  if (!given) fail(FXSR_BAD_ARGUMENT, name, " is null");
  constexpr size_t kMost = 4096;
  uint32_t size;
  std::memcpy(&size, given, sizeof size);
  if (size < sizeof size + sizeof(int32_t) || size > kMost) {
    fail(FXSR_BAD_ARGUMENT, name, " has the size ", size, "; call its fxsr_..._init function first");
  }
  const auto *bytes = reinterpret_cast<const unsigned char *>(given);
  const bool has_more =
      std::any_of(bytes + std::min<size_t>(size, sizeof(Struct)), bytes + size, [](int b) { return b; });
  if (has_more) fail(FXSR_BAD_ARGUMENT, name, " asks for something that this version of the library does not have");
  std::memcpy(&defaults, given, std::min<size_t>(size, sizeof(Struct)));
  return defaults;
}

// Fill a caller's struct as far as it goes. False: its size is not set.
template <typename Struct>
bool write_struct(const Struct &found, Struct *output) {
  const uint32_t size = output->size;
  if (size < sizeof size + sizeof(int32_t)) return false;
  std::memcpy(output, &found, std::min<size_t>(size, sizeof(Struct)));
  output->size = size;
  return true;
}

}  // namespace fxsr
