// An engine of TensorRT or TensorRT-RTX, run by libfxsr_trt, which is loaded here; memory and copies are done on this
// side.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "cuda.hpp"
#include "engine_facts.hpp"
#include "graph.hpp"
#include "trt/engine_api.h"

namespace fxsr {

class Engine : public Graph {
 public:
  // `file` has been compared with its manifest. Throws Error: FXSR_BAD_MODEL, FXSR_NO_RUNTIME, FXSR_NO_DEVICE,
  // FXSR_NO_MEMORY or FXSR_FAILED.
  Engine(std::string_view file, EngineFacts facts, const GraphOptions &options);
  ~Engine() override;

  int device() const override { return device_; }
  std::unique_ptr<Runner> runner() const override;

 private:
  class Contexts;
  void check_tensors() const;
  void keep_compiled() const;

  EngineFacts engine_facts_;
  int device_;
  CudaDriver driver_;
  std::string cache_path_;  // empty: nothing is kept
  const fxsr_engine_api *api_;
  fxsr_engine *engine_ = nullptr;
};

}  // namespace fxsr
