// Feeds damaged files and random arguments to the library, from a fixed seed:
// fuzz MODEL.onnx FOLDER ROUNDS
//
// With clang, `-fsanitize=fuzzer -DFXSR_LIBFUZZER` makes a libFuzzer target of
// it: on what fxsr_open reads itself, the description in a model's file, and
// the manifest next to a model or an engine.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "engine_facts.hpp"
#include "error.hpp"
#include "facts.hpp"
#include "fxsr.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view text(reinterpret_cast<const char *>(data), size);
  try {
    fxsr::decode_facts(text);
  } catch (const fxsr::Error &) {
  }
  try {
    fxsr::check_manifest(text, text);
  } catch (const fxsr::Error &) {
  }
  try {
    const fxsr::EngineFacts facts = fxsr::read_engine_facts(text, "x.plan", "");
    facts.limits();
    facts.profile_for({{"lr", {1, 3, 16, 16}}, {"t_map", {1, 1, 1, 1}}});
    facts.check_version(100600);
  } catch (const fxsr::Error &) {
  }
  return 0;
}

#ifndef FXSR_LIBFUZZER
namespace {

std::mt19937 dice(7);

int roll(int low, int high) { return std::uniform_int_distribution<int>(low, high)(dice); }

std::string contents(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string damaged(std::string bytes) {
  for (int times = roll(1, 4); times && !bytes.empty(); --times) {
    const auto at = static_cast<size_t>(roll(0, static_cast<int>(bytes.size()) - 1));
    switch (roll(0, 4)) {
      case 0:
        bytes[at] = static_cast<char>(roll(0, 255));
        break;
      case 1:
        bytes.resize(at);
        break;
      case 2:
        bytes.insert(at, 1, "{}[]\",:\\0-e"[roll(0, 10)]);
        break;
      case 3:
        bytes.erase(at, static_cast<size_t>(roll(1, 9)));
        break;
      default:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << roll(0, 7));
    }
  }
  return bytes;
}

[[noreturn]] void wrong(const char *what, long long found) {
  std::printf("%s: %lld\n", what, found);
  std::exit(1);
}

void fuzz_open(const std::string &model, const std::string &path, const fxsr_options &options) {
  std::ofstream(path, std::ios::binary) << damaged(model);
  fxsr_model *opened = nullptr;
  const int status = fxsr_open(path.c_str(), &options, &opened);
  if (status != FXSR_OK && *fxsr_open_error(opened) == '\0') wrong("no sentence for status", status);
  fxsr_close(opened);
}

int any_length() {
  static const int kLengths[] = {0,   -1,  1,     2,       15,        16,        17,        255,
                                 256, 257, 40000, 1 << 20, 536870911, 536870912, 2147483647};
  return roll(0, 1) ? roll(1, 700) : kLengths[roll(0, 14)];
}

// What fxsr_measure says must be what integers without limits say.
void fuzz_measure(fxsr_worker *worker, int scale) {
  static const int kBytes[] = {1, 2, 2, 4};
  fxsr_image in{sizeof in,
                roll(-1, 4),
                roll(0, 9) ? 0 : roll(-1, 2),
                0,
                any_length(),
                any_length(),
                roll(0, 9) ? 1 + 2 * roll(0, 1) : roll(-1, 5),
                nullptr,
                0,
                0,
                0};
  fxsr_image map = in;
  map.channels = 1;
  fxsr_style style{sizeof style, roll(0, 9) ? 0.5f : -1.0f, roll(0, 1) ? &map : nullptr,
                   roll(0, 3) ? 0.0f : static_cast<float>(roll(0, 1) ? roll(0, 50) : 1e30)};
  fxsr_output_size size{};
  size.size = sizeof size;
  const int status = fxsr_measure(worker, &in, &style, &size);
  if (status != FXSR_OK) {
    if (*fxsr_error(worker) == '\0') wrong("no sentence for status", status);
    return;
  }
  using Wide = __int128;
  const Wide bytes = Wide(in.width) * scale * in.height * scale * in.channels * kBytes[in.type];
  if (size.width != Wide(in.width) * scale || size.height != Wide(in.height) * scale || size.bytes != bytes) {
    wrong("measured bytes", static_cast<long long>(size.bytes));
  }
  const Wide band = Wide(in.channels) * in.width * scale * 4 * scale * (in.height < 256 ? in.height : 129);
  if (size.work_bytes < band) wrong("the worker needs more than", static_cast<long long>(size.work_bytes));
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const std::string model = contents(argv[1]), path = std::string(argv[2]) + "/damaged.onnx";
  const int rounds = std::atoi(argv[3]);
  const size_t begin = model.find("{\"name\""), end = model.rfind("\"schema\":1}") + 11;
  const std::string facts = model.substr(begin, end - begin);
  fxsr::decode_facts(facts);  // the seed is a good one
  fxsr_options options;
  fxsr_options_init(&options);
  options.threads = 1;
  fxsr_model *opened = nullptr;
  fxsr_worker *worker = nullptr;
  if (fxsr_open(argv[1], &options, &opened) || fxsr_worker_new(opened, &worker)) wrong(fxsr_open_error(opened), 0);
  for (int round = 0; round < rounds * 100; ++round) {
    const std::string text = damaged(facts);
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(text.data()), text.size());
    fuzz_measure(worker, 4);
  }
  for (int round = 0; round < rounds; ++round) fuzz_open(model, path, options);
  fxsr_worker_free(worker);
  fxsr_close(opened);
  std::puts("all refused or right");
  return 0;
}
#endif
