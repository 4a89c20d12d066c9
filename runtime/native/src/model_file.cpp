#include "model_file.hpp"

#include <cctype>
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
    {"ptrt", "a TensorRT engine; its name must end in .plan, and its manifest lie next to it"},
    {"ftrt", "a TensorRT engine; its name must end in .plan, and its manifest lie next to it"},
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

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// The ending of the file's name, in lower case, with its dot.
std::string ending(const std::string &path) {
  const size_t name = path.find_last_of("/\\") + 1, dot = path.rfind('.');
  std::string found = dot == std::string::npos || dot < name ? "" : path.substr(dot);
  for (char &each : found) each = static_cast<char>(std::tolower(static_cast<unsigned char>(each)));
  return found;
}

// NAME.json next to NAME.onnx, NAME.plan or NAME.rtx.plan.
std::string manifest_path(const std::string &path) {
  constexpr std::string_view kRtx = ".rtx";
  std::string stem = path.substr(0, path.size() - ending(path).size());
  if (ends_with(stem, kRtx)) stem.resize(stem.size() - kRtx.size());
  return stem + ".json";
}

std::optional<std::string> manifest_text(const std::string &path) {
  std::FILE *file = std::fopen(path.c_str(), "rb");
  if (!file && errno == ENOENT) return std::nullopt;
  if (file) std::fclose(file);
  return contents(path, kLargestManifest);
}

}  // namespace

ModelFile read_model_file(const std::string &path) {
  const bool is_engine = ending(path) == ".plan" || ending(path) == ".engine";
  ModelFile file;
  file.bytes = naming(path, [&] {
    std::string read = contents(path, 0);
    if (!is_engine) check_kind(read);
    return read;
  });
  const std::string beside = manifest_path(path);
  if (beside == path) return file;
  const std::optional<std::string> text = naming(beside, [&] { return manifest_text(beside); });
  if (is_engine) {
    naming(path, [&] {
      if (!text) fail(FXSR_BAD_MODEL, "its manifest ", beside, " is missing; engines are executable code");
      file.engine = read_engine_facts(*text, path.substr(path.find_last_of("/\\") + 1), file.bytes);
    });
  } else if (text) {
    naming(beside, [&] { check_manifest(*text, file.bytes); });
  }
  return file;
}

}  // namespace fxsr
