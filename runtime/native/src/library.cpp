#include "library.hpp"

#include "error.hpp"

#ifdef _WIN32
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace fxsr {

#ifdef _WIN32

Library::Library(const std::string &path) : handle_(LoadLibraryA(path.c_str())) {
  if (!handle_) fail(FXSR_NO_RUNTIME, path, ": Windows error ", static_cast<long>(GetLastError()));
}

Library::~Library() = default;  // threads of the library may still end

void *Library::address(const char *name) const {
  return reinterpret_cast<void *>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

#else

namespace {

#ifdef RTLD_NODELETE
constexpr int kHow = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;  // threads of the library may still end after dlclose
#else
constexpr int kHow = RTLD_NOW | RTLD_LOCAL;
#endif

}  // namespace

Library::Library(const std::string &path) : handle_(dlopen(path.c_str(), kHow)) {
  if (!handle_) {
    const char *reason = dlerror();
    fail(FXSR_NO_RUNTIME, reason ? reason : path.c_str());
  }
}

Library::~Library() { dlclose(handle_); }

void *Library::address(const char *name) const { return dlsym(handle_, name); }

#endif

}  // namespace fxsr
