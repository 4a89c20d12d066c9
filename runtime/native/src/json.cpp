#include "json.hpp"

#include <cmath>
#include <cstdlib>

#include "error.hpp"

namespace fxsr::json {
namespace {

constexpr int kDeepest = 32;  // our files nest 6 levels
constexpr size_t kLongestNumber = 64;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Value document() {
    Value value = any(0);
    skip_space();
    if (at_ < text_.size()) wrong("text after the end");
    return value;
  }

 private:
  [[noreturn]] void wrong(std::string_view what) const {
    fail(FXSR_BAD_MODEL, "its description is not JSON: ", what, " at byte ", at_);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool take(std::string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  Value any(int depth) {
    if (depth > kDeepest) wrong("nested too deeply");
    skip_space();
    switch (peek()) {
      case '{':
        return {object(depth)};
      case '[':
        return {array(depth)};
      case '"':
        return {string()};
      default:
        if (take("true")) return {true};
        if (take("false")) return {false};
        if (take("null")) return {nullptr};
        return {number()};
    }
  }

  Object object(int depth) {
    Object members;
    take('{');
    skip_space();
    if (take('}')) return members;
    do {
      skip_space();
      if (peek() != '"') wrong("a name is missing");
      std::string key = string();
      skip_space();
      if (!take(':')) wrong("':' is missing");
      members.insert_or_assign(std::move(key), any(depth + 1));
      skip_space();
    } while (take(','));
    if (!take('}')) wrong("'}' is missing");
    return members;
  }

  Array array(int depth) {
    Array items;
    take('[');
    skip_space();
    if (take(']')) return items;
    do {
      items.push_back(any(depth + 1));
      skip_space();
    } while (take(','));
    if (!take(']')) wrong("']' is missing");
    return items;
  }

  double number() {
    const size_t begin = at_;
    take('-');
    if (!take('0')) digits();
    if (take('.')) digits();
    if (take('e') || take('E')) {
      if (!take('-')) take('+');
      digits();
    }
    const std::string literal(text_.substr(begin, at_ - begin));
    if (literal.size() > kLongestNumber) wrong("a number is too long");
    const double value = std::strtod(literal.c_str(), nullptr);
    if (!std::isfinite(value)) wrong("a number is too large");
    return value;
  }

  void digits() {
    const size_t begin = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    if (at_ == begin) wrong("a value is missing");
  }

  std::string string() {
    std::string out;
    take('"');
    while (!take('"')) {
      const auto byte = static_cast<unsigned char>(peek());
      if (at_ >= text_.size() || byte < 0x20) wrong("a string does not end");
      if (take('\\')) {
        escape(out);
      } else if (byte < 0x80) {
        out += text_[at_++];
      } else {
        encoded(out, byte);
      }
    }
    return out;
  }

  void escape(std::string &out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t index = at_ < text_.size() ? kNames.find(text_[at_]) : std::string_view::npos;
    if (index != std::string_view::npos) {
      out += kMeanings[index];
      ++at_;
      return;
    }
    if (!take('u')) wrong("an unknown escape");
    unsigned code = hexadecimal();
    if (code >= 0xD800 && code < 0xDC00 && take("\\u")) {
      const unsigned low = hexadecimal();
      if (low < 0xDC00 || low > 0xDFFF) wrong("half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xD800 && code < 0xE000) {
      wrong("half of a surrogate pair");
    }
    append_utf8(out, code);
  }

  unsigned hexadecimal() {
    unsigned code = 0;
    for (int digit = 0; digit < 4; ++digit, ++at_) {
      const char each = peek();
      const bool decimal = each >= '0' && each <= '9';
      const int lower = each | 0x20;
      if (!decimal && (lower < 'a' || lower > 'f')) wrong("an unknown escape");
      code = code * 16 + static_cast<unsigned>(decimal ? each - '0' : lower - 'a' + 10);
    }
    return code;
  }

  static void append_utf8(std::string &out, unsigned code) {
    const auto byte = [&out](unsigned value) { out += static_cast<char>(value); };
    if (code < 0x80) {
      byte(code);
    } else if (code < 0x800) {
      byte(0xC0 | code >> 6);
      byte(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      byte(0xE0 | code >> 12);
      byte(0x80 | (code >> 6 & 0x3F));
      byte(0x80 | (code & 0x3F));
    } else {
      byte(0xF0 | code >> 18);
      byte(0x80 | (code >> 12 & 0x3F));
      byte(0x80 | (code >> 6 & 0x3F));
      byte(0x80 | (code & 0x3F));
    }
  }

  // A character of two to four bytes; overlong forms, surrogates and what lies beyond Unicode are refused.
  void encoded(std::string &out, unsigned first) {
    const int more = first >= 0xC2 && first < 0xE0   ? 1
                     : first >= 0xE0 && first < 0xF0 ? 2
                     : first >= 0xF0 && first < 0xF5 ? 3
                                                     : 0;
    unsigned code = first & (0x3Fu >> more);
    const size_t begin = at_++;
    for (int index = 0; index < more; ++index, ++at_) {
      const auto next = static_cast<unsigned char>(peek());
      if ((next & 0xC0) != 0x80) wrong("not UTF-8");
      code = code << 6 | (next & 0x3Fu);
    }
    const unsigned least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
    if (more == 0 || code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) wrong("not UTF-8");
    out += text_.substr(begin, at_ - begin);
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

const Value *Value::find(std::string_view key) const {
  const Object *members = as<Object>();
  if (!members) return nullptr;
  const auto found = members->find(key);
  return found == members->end() ? nullptr : &found->second;
}

Value parse(std::string_view text) { return Parser(text).document(); }

}  // namespace fxsr::json
