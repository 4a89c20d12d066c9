#include "tiles.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"

namespace fxsr {
namespace {

int64_t ceil_divide(int64_t value, int64_t by) { return (value + by - 1) / by; }

double smoothstep(int64_t index, int64_t length) {
  const double x = (static_cast<double>(index) + 0.5) / static_cast<double>(length);
  return x * x * (3 - 2 * x);
}

constexpr int64_t kNeighbours = 3;  // tiles share at most half of their pixels

}  // namespace

int default_overlap(int tile) { return tile ? std::min(kDefaultOverlap, tile / 2) : kDefaultOverlap; }

void check_tiling(int tile, int overlap) {
  if (tile < 0 || overlap < 0) {
    fail(FXSR_BAD_ARGUMENT, "tile ", tile, " and overlap ", overlap, " must not be negative");
  }
  if (tile && overlap > tile / 2) {
    fail(FXSR_BAD_ARGUMENT, "overlap ", overlap, " is more than half of tile ", tile, "; use ", tile / 2, " or less");
  }
}

AxisPlan::AxisPlan(int64_t axis_length, int64_t tile, int64_t overlap)
    : length(axis_length), size(axis_length), count(1) {
  if (tile == 0 || length <= tile) return;
  count = ceil_divide(length - overlap, tile - overlap);
  size = ceil_divide(length + (count - 1) * overlap, count);  // no larger than needed
}

AxisPlan bordered_axis(int64_t length, int64_t tile, int64_t overlap, int64_t most) {
  if (tile && length > tile) return {length + 2 * kBorder, tile, overlap};
  return {length + 2 * (most ? std::min(kBorder, (most - length) / 2) : kBorder), 0, overlap};
}

int64_t AxisPlan::start(int64_t index) const {
  if (count == 1) return 0;
  // to even, as Python rounds
  return std::lrint(static_cast<double>(index * (length - size)) / static_cast<double>(count - 1));
}

Weights::Weights(Layout &layout, const AxisPlan &plan, int scale) : plan_(plan), scale_(scale) {
  const size_t length = static_cast<size_t>(plan.size * scale);
  own_ = layout.take<double>(length);
  total_ = layout.take<double>(length);
  other_ = layout.take<double>(length);
}

void Weights::write(int64_t index, float *weights) const {
  const int64_t length = plan_.size * scale_;
  ramp(index, own_);
  std::copy_n(own_, length, total_);
  const int64_t last = std::min(plan_.count, index + kNeighbours + 1);
  for (int64_t other = std::max<int64_t>(0, index - kNeighbours); other < last; ++other) {
    const int64_t shift = (plan_.start(other) - plan_.start(index)) * scale_;
    if (other == index || std::abs(shift) >= length) continue;
    ramp(other, other_);
    for (int64_t at = std::max<int64_t>(0, shift); at < std::min(length, length + shift); ++at) {
      total_[at] += other_[at - shift];
    }
  }
  for (int64_t at = 0; at < length; ++at) weights[at] = static_cast<float>(own_[at] / total_[at]);
}

// 1 inside, falling smoothly towards 0 over the pixels that are shared with each neighbour.
void Weights::ramp(int64_t index, double *window) const {
  const int64_t length = plan_.size * scale_;
  std::fill_n(window, length, 1.0);
  if (index > 0) {
    const int64_t pixels = shared(index - 1);
    for (int64_t at = 0; at < pixels; ++at) window[at] *= smoothstep(at, pixels);
  }
  if (index + 1 < plan_.count) {
    const int64_t pixels = shared(index);
    for (int64_t at = 0; at < pixels; ++at) window[length - 1 - at] *= smoothstep(at, pixels);
  }
}

// Output pixels that a tile shares with the next one.
int64_t Weights::shared(int64_t index) const {
  return (plan_.start(index) + plan_.size - plan_.start(index + 1)) * scale_;
}

}  // namespace fxsr
