// Reads a model file, and refuses what can't be one with a sentence that says what it is.
#pragma once

#include <string>

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

// Throws Error(FXSR_BAD_MODEL): the file can't be read, is no ONNX file, or is not as its manifest says.
std::string read_model_file(const std::string &path);

}  // namespace fxsr
