// An exported ONNX graph on ONNX Runtime.
#pragma once

#include <memory>
#include <string_view>

#include "graph.hpp"

namespace fxsr {

class OnnxGraph : public Graph {
 public:
  // Throws Error: FXSR_BAD_MODEL, FXSR_NO_RUNTIME, FXSR_NO_DEVICE, FXSR_NO_MEMORY or FXSR_FAILED.
  OnnxGraph(std::string_view file, const GraphOptions &options);
  ~OnnxGraph() override;

  std::unique_ptr<Runner> runner() const override;

  // Run once. Threads may call this at the same time. Throws Error(FXSR_NO_MEMORY, FXSR_BAD_MODEL or FXSR_FAILED).
  void run(const std::vector<Tensor> &inputs, const Tensor &output) const;

 private:
  struct Runtime;
  void check_tensors() const;

  std::unique_ptr<Runtime> runtime_;
};

}  // namespace fxsr
