// Reads members of JSON objects that fxsr wrote. All throw Error(FXSR_BAD_MODEL): the member is missing, or of the
// wrong type.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>

#include "error.hpp"
#include "json.hpp"

namespace fxsr {

[[noreturn]] inline void untrue(std::string_view what) {
  fail(FXSR_BAD_MODEL, "its description can't be used: ", what, "; export it again");
}

inline const json::Value &member(const json::Value &object, std::string_view key) {
  const json::Value *value = object.find(key);
  if (!value) untrue(sentence("it has no ", key));
  return *value;
}

template <typename T>
T typed(const json::Value &object, std::string_view key) {
  const T *value = member(object, key).as<T>();
  if (!value) untrue(sentence(key, " is of the wrong type"));
  return *value;
}

template <typename T>
T typed_or(const json::Value &object, std::string_view key, T missing) {
  return object.find(key) ? typed<T>(object, key) : missing;
}

inline int64_t integer(const json::Value &value, std::string_view key) {
  const double *number = value.as<double>();
  if (!number || *number != std::floor(*number) || *number < 0 || *number > 2147483647) {
    untrue(sentence(key, " is not a whole number"));
  }
  return static_cast<int64_t>(*number);
}

}  // namespace fxsr
