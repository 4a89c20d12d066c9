// A shared library that is loaded at run time.
#pragma once

#include <memory>
#include <string>

namespace fxsr {

class Library {
 public:
  // Throws Error(FXSR_NO_RUNTIME): it can't be loaded; the text is the system's reason.
  explicit Library(const std::string &path);
  ~Library();
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;

  // A function of the library; null if it has none of that name.
  template <typename Function>
  Function *find(const char *name) const {
    return reinterpret_cast<Function *>(address(name));
  }

 private:
  void *address(const char *name) const;
  void *handle_;
};

}  // namespace fxsr
