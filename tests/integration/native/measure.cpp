// Random images, styles, tiles and layouts through fxsr_measure and then
// fxsr_run, from a fixed seed: what the first says is what the second writes
// and allocates. measure MODEL.onnx ROUNDS
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <random>
#include <vector>

#include "fxsr.h"

extern "C" const char __executable_start, etext;  // the linker's

namespace {

size_t largest = 0;
bool is_counted = true;

}  // namespace

// A worker's block is the only one of libfxsr that is allocated with an alignment; ONNX Runtime's are not counted.
__attribute__((noinline)) void *operator new(size_t bytes, std::align_val_t alignment) {
  const auto *caller = static_cast<const char *>(__builtin_return_address(0));
  const auto step = static_cast<size_t>(alignment);
  if (bytes > largest && caller >= &__executable_start && caller < &etext) largest = bytes;
  void *block = std::aligned_alloc(step, (bytes + step - 1) / step * step);
  if (!block) throw std::bad_alloc();
  return block;
}
void operator delete(void *block, std::align_val_t) noexcept { std::free(block); }

namespace {

std::mt19937 dice(11);
int roll(int low, int high) { return std::uniform_int_distribution<int>(low, high)(dice); }

[[noreturn]] void wrong(const char *what, long long found) {
  std::printf("%s: %lld\n", what, found);
  std::exit(1);
}

void compare(const char *path) {
  fxsr_options options;
  fxsr_options_init(&options);
  options.threads = 1;
  options.tile = roll(0, 3) ? roll(2, 40) : 0;
  fxsr_model *model = nullptr;
  fxsr_worker *worker = nullptr;
  if (fxsr_open(path, &options, &model) || fxsr_worker_new(model, &worker)) wrong(fxsr_open_error(model), 0);
  for (int round = 0; round < 4; ++round) {
    const int width = roll(1, 70), height = roll(1, 70);
    const auto layout = static_cast<fxsr_layout>(roll(FXSR_GREY, FXSR_PLANAR));
    const auto type = static_cast<fxsr_type>(roll(FXSR_UINT8, FXSR_FLOAT32));
    std::vector<unsigned char> pixels(static_cast<size_t>(width * height) * 16), styles(pixels.size());
    fxsr_image in, out, map;
    fxsr_image_init(&in, layout, type, pixels.data(), width, height, 0);
    for (unsigned char &each : styles) each = static_cast<unsigned char>(roll(0, 1) * roll(0, 255));
    fxsr_image_init(&map, FXSR_GREY, FXSR_UINT8, styles.data(), width, height, 0);
    fxsr_style style;
    fxsr_style_init(&style, 0.5f);
    if (roll(0, 1)) style.map = &map;
    style.feather = roll(0, 1) ? static_cast<float>(roll(0, 90)) / 4 : 0;
    fxsr_output_size size{};
    size.size = sizeof size;
    if (fxsr_measure(worker, &in, &style, &size)) wrong(fxsr_error(worker), round);
    const bool wide = layout == FXSR_RGBX || layout == FXSR_BGRX;
    const size_t room = wide ? size.bytes / 3 * 4 : size.bytes;  // exactly what is written
    std::vector<unsigned char> result(room);
    fxsr_image_init(&out, layout, type, result.data(), size.width, size.height, 0);
    // a new worker allocates what this call needs, no less and no more
    fxsr_worker *fresh = nullptr;
    if (fxsr_worker_new(model, &fresh)) wrong("no worker", 0);
    largest = 0;
    if (fxsr_run(fresh, &in, &style, &out)) wrong(fxsr_error(fresh), round);
    fxsr_worker_free(fresh);
    if (is_counted && largest != size.work_bytes) wrong("measured another size than", static_cast<long long>(largest));
  }
  fxsr_worker_free(worker);
  fxsr_close(model);
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  is_counted = argc == 3;
  for (int round = std::atoi(argv[2]); round; --round) compare(argv[1]);
  std::puts("all as measured");
  return 0;
}
