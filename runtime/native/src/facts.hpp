// What a model file says about itself: ModelFacts of fxsr/models/manifest.py, as far as a runtime needs them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"

namespace fxsr {

constexpr int kSchema = 1;
constexpr const char *kMetadataKey = "fxsr";
constexpr int64_t kAnyLength = -1;

enum class DataType { kUint8, kFloat16, kFloat32 };

struct TensorFacts {
  std::string name;
  DataType type;
  std::vector<int64_t> shape;  // four axes; kAnyLength where the graph takes any
};

struct Facts {
  std::string name, variant, precision, licence;
  int scale = 0;
  DataType type = DataType::kFloat32;  // of all inputs and outputs
  bool packed = false;                 // the only input is lr_t: RGB and t
  std::optional<float> baked_t;        // the style that the graph is fixed at; it then has no t_map
  std::vector<TensorFacts> inputs, outputs;

  bool takes_bytes() const { return type == DataType::kUint8; }
};

// Throws Error(FXSR_BAD_MODEL): the text is damaged, of another schema, or can't be true.
Facts decode_facts(std::string_view json);
Facts decode_facts(const json::Value &object);
// The same, of the file's schema alone.
void check_schema(const json::Value &object);

// Compare a model file with the manifest that `fxsr export` wrote next to it.
// Throws Error(FXSR_BAD_MODEL): the manifest is damaged, or describes another file.
void check_manifest(std::string_view json, std::string_view file_bytes);
// The same, with the manifest's entry for the file. Returns the file's SHA-256.
std::string check_contents(const json::Value &file, std::string_view file_bytes);

}  // namespace fxsr
