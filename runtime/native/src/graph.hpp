// An exported ONNX graph on ONNX Runtime: runs single tiles. Knows nothing of images.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "facts.hpp"
#include "fxsr.h"

namespace fxsr {

struct GraphOptions {
  int provider = FXSR_CPU_PROVIDER;
  int device = 0;
  int threads = 0;  // 0: as many as CPUs
  std::string onnxruntime, cache;
};

// A tensor in host memory that somebody else owns.
struct Tensor {
  void *data;
  std::array<int64_t, 4> shape;
};

class Graph {
 public:
  // Throws Error: FXSR_BAD_MODEL, FXSR_NO_RUNTIME, FXSR_NO_DEVICE, FXSR_NO_MEMORY or FXSR_FAILED.
  Graph(std::string_view file, const GraphOptions &options);
  ~Graph();

  const Facts &facts() const { return facts_; }

  // Run once. Threads may call this at the same time. Throws Error(FXSR_NO_MEMORY, FXSR_BAD_MODEL or FXSR_FAILED).
  void run(const std::vector<Tensor> &inputs, const Tensor &output) const;

 private:
  struct Runtime;
  void check_tensors() const;

  std::unique_ptr<Runtime> runtime_;
  Facts facts_;
};

size_t element_bytes(DataType type);

}  // namespace fxsr
