// Reads a model file, and refuses what can't be one with a sentence that says what it is.
#pragma once

#include <optional>
#include <string>

#include "engine_facts.hpp"
#include "error.hpp"

namespace fxsr {

// Call `read`, and name the file in its error.
template <typename Read>
auto naming(const std::string &path, Read read) {
  try {
    return read();
  } catch (const Error &error) {
    if (error.status() != FXSR_BAD_MODEL) throw;
    throw Error(error.status(), path + ": " + error.what());
  }
}

struct ModelFile {
  std::string bytes;
  std::optional<EngineFacts> engine;  // none: an ONNX file
};

// An engine is what ends in .plan or .engine; it must have a manifest, since it is executable code.
// Throws Error(FXSR_BAD_MODEL): the file can't be read, is no model, or is not as its manifest says.
ModelFile read_model_file(const std::string &path);

}  // namespace fxsr
