// What a manifest says about an engine: EngineFacts of fxsr/models/manifest.py, as far as a runtime needs them.
#pragma once

#include <array>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "facts.hpp"
#include "graph.hpp"

namespace fxsr {

using Shape = std::array<int64_t, 4>;
using Shapes = std::map<std::string, Shape>;

struct Profile {
  struct Range {
    Shape least, most;
  };
  std::map<std::string, Range> inputs;

  bool takes(const Shapes &shapes) const;
};

struct EngineFacts {
  Facts model;
  std::string flavour, builder_version, gpu, sha256;  // gpu: empty if it was built without one
  std::vector<std::string> capabilities;              // of GPUs that a TensorRT-RTX engine was built for; empty: all
  bool version_compatible = false, hardware_compatible = false, strip_weights = false;
  std::vector<Profile> profiles;  // one or more

  bool is_rtx() const { return flavour == "tensorrt-rtx"; }
  Limits limits() const;
  // The profile for these inputs, or -1. The last one that fits: it is for a single style.
  int profile_for(const Shapes &shapes) const;

  // Throws Error(FXSR_BAD_MODEL): another version of the library can't load the engine. `here`: 10603 is 1.6.3.
  void check_version(int here) const;
  // Throws Error(FXSR_NO_DEVICE): the engine was built for another GPU than this.
  void check_gpu(const std::string &name, const std::string &capability) const;
};

// Throws Error(FXSR_BAD_MODEL): the manifest is damaged, or does not list this file, or describes other contents.
EngineFacts read_engine_facts(std::string_view manifest, const std::string &file_name, std::string_view file_bytes);

}  // namespace fxsr
