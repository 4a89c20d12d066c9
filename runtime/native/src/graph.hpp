// A model that runs batches of tiles; it knows nothing of images.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "facts.hpp"
#include "fxsr.h"

namespace fxsr {

struct GraphOptions {
  int provider = FXSR_CPU_PROVIDER;
  int device = 0;
  int threads = 0;  // 0: as many as CPUs
  std::string onnxruntime, cache, tensorrt;
};

// A tensor in host memory that somebody else owns.
struct Tensor {
  void *data;
  std::array<int64_t, 4> shape;
};

// The sizes that a model takes.
struct Limits {
  int64_t least_batch = 1, batch = 1;  // `batch`: the largest that is worth giving
  int64_t least_height = 1, least_width = 1;
  int64_t height = 0, width = 0;  // of the largest tile; 0: any
};

// What one thread at a time runs a model with.
class Runner {
 public:
  virtual ~Runner() = default;
  // Run once. `stream` is a CUDA stream of the model's device on which to run, or null: the runner's own. The output is
  // there on return. Throws Error: FXSR_NO_MEMORY, FXSR_BAD_MODEL or FXSR_FAILED.
  virtual void run(const std::vector<Tensor> &inputs, const Tensor &output, void *stream) = 0;
};

class Graph {
 public:
  virtual ~Graph() = default;
  const Facts &facts() const { return facts_; }
  const Limits &limits() const { return limits_; }
  // The number of the GPU whose streams a runner takes; -1: none.
  virtual int device() const { return -1; }
  // Threads may call this at the same time. The graph must live longer than its runners.
  virtual std::unique_ptr<Runner> runner() const = 0;

 protected:
  Facts facts_;
  Limits limits_;
};

size_t element_bytes(DataType type);
// Of a tensor of this type and shape.
size_t tensor_bytes(DataType type, const std::array<int64_t, 4> &shape);

}  // namespace fxsr
