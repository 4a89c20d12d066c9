// The one exception that this library throws inside, and how its sentences are put together.
#pragma once

#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "fxsr.h"

namespace fxsr {

class Error : public std::exception {
 public:
  Error(int status, std::string text) : status_(status), text_(std::move(text)) {}
  int status() const noexcept { return status_; }
  const char *what() const noexcept override { return text_.c_str(); }

 private:
  int status_;
  std::string text_;
};

inline void append(std::string &text, std::string_view part) { text += part; }
inline void append(std::string &text, float number);
template <typename Integer, typename = decltype(std::to_string(Integer()))>
void append(std::string &text, Integer number) {
  text += std::to_string(number);
}
inline void append(std::string &text, float number) {
  char digits[32];
  const int length = std::snprintf(digits, sizeof digits, "%g", static_cast<double>(number));
  text.append(digits, static_cast<size_t>(length));
}

// A sentence from texts and numbers.
template <typename... Parts>
std::string sentence(const Parts &...parts) {
  std::string text;
  (append(text, parts), ...);
  return text;
}

template <typename... Parts>
[[noreturn]] void fail(fxsr_status status, const Parts &...parts) {
  throw Error(status, sentence(parts...));
}

// Text out of somebody's file: control characters become '?', and it is cut after `most` bytes.
inline std::string foreign(std::string_view text, size_t most = 80) {
  std::string shown(text.substr(0, most));
  for (char &each : shown) {
    if (static_cast<unsigned char>(each) < 0x20 || each == 0x7f) each = '?';
  }
  return text.size() > most ? shown + "..." : shown;
}

}  // namespace fxsr
