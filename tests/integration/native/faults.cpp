// Lets the first, the second, ... allocation of libfxsr fail, until all calls succeed: faults MODEL.onnx
//
// Each failure must be a status with a sentence, and the library must work afterwards. The operators below replace
// those of this program alone, not those of ONNX Runtime. Leaks are found by the sanitizer that this is built with.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "fxsr.h"

extern "C" const char __executable_start, etext;  // the linker's

namespace {

thread_local bool in_fxsr = false;
long allocations = 0, failing = -1;
size_t largest = 0;

void *allocate(size_t bytes, size_t alignment, const void *caller) {
  const auto *address = static_cast<const char *>(caller);
  const bool is_ours = in_fxsr && address >= &__executable_start && address < &etext;
  if (is_ours && allocations++ == failing) throw std::bad_alloc();
  if (is_ours && bytes > largest) largest = bytes;
  void *block =
      alignment ? std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment) : std::malloc(bytes);
  if (!block) throw std::bad_alloc();
  return block;
}

}  // namespace

#define CALLER __builtin_return_address(0)
__attribute__((noinline)) void *operator new(size_t bytes) { return allocate(bytes, 0, CALLER); }
__attribute__((noinline)) void *operator new(size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment), CALLER);
}
__attribute__((noinline)) void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
  try {
    return allocate(bytes, 0, CALLER);
  } catch (...) {
    return nullptr;
  }
}
void operator delete(void *block) noexcept { std::free(block); }
void operator delete(void *block, size_t) noexcept { std::free(block); }
void operator delete(void *block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void *block, size_t, std::align_val_t) noexcept { std::free(block); }

namespace {

[[noreturn]] void wrong(const char *what, int status, const char *text) {
  std::printf("allocation %ld: %s: status %d, %s\n", failing, what, status, text);
  std::exit(1);
}

// Whether a call, in which allocations may fail, succeeds; ends the program if it fails for another reason.
template <typename Call, typename Explain>
bool fine(const char *what, Call call, Explain explain) {
  in_fxsr = true;
  const int status = call();
  in_fxsr = false;
  const char *text = status == FXSR_OK ? "" : explain();
  if (status != FXSR_OK && (status != FXSR_NO_MEMORY || !std::strstr(text, "memory"))) wrong(what, status, text);
  return status == FXSR_OK;
}

bool upscale_all(const char *path) {
  constexpr int kSide = 20;
  static std::vector<unsigned char> in(kSide * kSide * 3, 90), out(in.size() * 64), map(kSide * kSide, 40);
  fxsr_options options;
  fxsr_options_init(&options);
  options.threads = 1;
  fxsr_model *model = nullptr;
  fxsr_worker *worker = nullptr;
  map[5] = 200;
  fxsr_image from, to, styles;
  fxsr_image_init(&from, FXSR_RGB, FXSR_UINT8, in.data(), kSide, kSide, 0);
  fxsr_image_init(&to, FXSR_RGB, FXSR_UINT8, out.data(), 4 * kSide, 4 * kSide, 0);
  fxsr_image_init(&styles, FXSR_GREY, FXSR_UINT8, map.data(), kSide, kSide, 0);
  fxsr_style style;
  fxsr_style_init(&style, 0);
  style.map = &styles;
  style.feather = 2;
  fxsr_output_size size{};
  size.size = sizeof size;
  fxsr_ticket ticket = 0;

  const auto error = [&] { return fxsr_error(worker); };
  bool good =
      fine("fxsr_open", [&] { return fxsr_open(path, &options, &model); }, [&] { return fxsr_open_error(model); });
  good = good && fine("fxsr_worker_new", [&] { return fxsr_worker_new(model, &worker); }, [] { return "memory"; });
  good = good && fine("fxsr_measure", [&] { return fxsr_measure(worker, &from, &style, &size); }, error);
  largest = 0;
  good = good && fine("fxsr_run", [&] { return fxsr_run(worker, &from, &style, &to); }, error);
  if (good && largest != size.work_bytes) {
    wrong("fxsr_measure promised another size", 0, std::to_string(largest).c_str());
  }
  good = good && fine("fxsr_submit", [&] { return fxsr_submit(worker, &from, &style, &to, nullptr, &ticket); }, error);
  good = good && fine("fxsr_wait", [&] { return fxsr_wait(worker, ticket); }, error);
  fxsr_worker_free(worker);
  fxsr_close(model);
  return good;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  for (failing = 0;; ++failing) {
    allocations = 0;
    if (upscale_all(argv[1])) break;
  }
  std::printf("%ld allocations failed\n", failing);
  return 0;
}
