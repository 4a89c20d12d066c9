#include "model_file.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

#include "error.hpp"
#include "facts.hpp"

namespace fxsr {
namespace {

constexpr long kLargestManifest = 16L << 20;
constexpr std::string_view kZip("PK\x03\x04", 4), kElf(
                                                      "\x7f"
                                                      "ELF",
                                                      4);

struct Kind {
  std::string_view mark;
  const char *what;
};

constexpr Kind kForeign[] = {
    {"version https://git-lfs", "a Git LFS pointer instead of the file itself; type: git lfs pull"},
    {kZip, "a PyTorch checkpoint or a zip archive; export the checkpoint with fxsr export"},
    {"\x80", "a PyTorch checkpoint; export it with fxsr export"},
    {"\x89PNG", "a PNG image; give a model file"},
    {"\xff\xd8\xff", "a JPEG image; give a model file"},
    {kElf, "a program; give a model file"},
    {"ptrt", "a TensorRT engine; give the .onnx file that it was built from"},
    {"ftrt", "a TensorRT engine; give the .onnx file that it was built from"},
    {"{", "a text in JSON; give the .onnx file that this describes"},
    {"<", "a web page; download the file again"},
};

std::string contents(const std::string &path, long most) {
  struct Close {
    void operator()(std::FILE *file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rb"));
  if (!file) fail(FXSR_BAD_MODEL, "it can't be read (", std::strerror(errno), ")");
  std::string bytes;
  char block[1 << 16];
  while (const size_t count = std::fread(block, 1, sizeof block, file.get())) {
    bytes.append(block, count);
    if (most && bytes.size() > static_cast<size_t>(most)) fail(FXSR_BAD_MODEL, "it is too large");
  }
  if (std::ferror(file.get())) fail(FXSR_BAD_MODEL, "it can't be read (", std::strerror(errno), ")");
  return bytes;
}

void check_kind(std::string_view bytes) {
  if (bytes.empty()) fail(FXSR_BAD_MODEL, "the file is empty; download the file again");
  if (bytes.substr(0, 1024).find_first_not_of('\0') == std::string_view::npos) {
    fail(FXSR_BAD_MODEL, "the file begins with zeros only; download the file again");
  }
  for (const Kind &kind : kForeign) {
    if (bytes.substr(0, kind.mark.size()) == kind.mark) fail(FXSR_BAD_MODEL, "not an ONNX file: this is ", kind.what);
  }
}

// NAME.json next to NAME.onnx.
std::string manifest_path(const std::string &path) {
  const size_t name = path.find_last_of("/\\") + 1, dot = path.rfind('.');
  return path.substr(0, dot == std::string::npos || dot < name ? path.size() : dot) + ".json";
}

std::optional<std::string> manifest_text(const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file && errno == ENOENT) return std::nullopt;
  if (file) std::fclose(file);
  return contents(path, kLargestManifest);
}

}  // namespace

std::string read_model_file(const std::string &path) {
  std::string bytes = naming(path, [&] {
    std::string read = contents(path, 0);
    check_kind(read);
    return read;
  });
  const std::string beside = manifest_path(path);
  if (beside == path) return bytes;
  naming(beside, [&] {
    if (const std::optional<std::string> text = manifest_text(beside)) check_manifest(*text, bytes);
  });
  return bytes;
}

}  // namespace fxsr
