// Reads JSON (RFC 8259) into a tree of values. Strict: what is not JSON, nested too deeply, or not UTF-8 is refused.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace fxsr::json {

class Value;
using Array = std::vector<Value>;
using Object = std::map<std::string, Value, std::less<>>;

class Value {
 public:
  std::variant<std::nullptr_t, bool, double, std::string, Array, Object> data;

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(data); }
  // The member of that name; null if this is no object, or has none.
  const Value *find(std::string_view key) const;
  // This value as one of the types above; null if it is of another.
  template <typename T>
  const T *as() const {
    return std::get_if<T>(&data);
  }
};

// Throws Error(FXSR_BAD_MODEL): the text is not JSON.
Value parse(std::string_view text);

}  // namespace fxsr::json
