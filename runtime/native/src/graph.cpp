#include "graph.hpp"

namespace fxsr {

size_t element_bytes(DataType type) { return type == DataType::kFloat32 ? 4 : type == DataType::kFloat16 ? 2 : 1; }

size_t tensor_bytes(DataType type, const std::array<int64_t, 4> &shape) {
  size_t bytes = element_bytes(type);
  for (const int64_t axis : shape) bytes *= static_cast<size_t>(axis);
  return bytes;
}

}  // namespace fxsr
