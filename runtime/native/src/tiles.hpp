// Cuts an axis into overlapping tiles, and computes the weights that blend them: fxsr/runtime/upscale/tiles.py.
#pragma once

#include <cstdint>

#include "arena.hpp"

namespace fxsr {

constexpr int kDefaultTile = 256;
constexpr int kDefaultOverlap = 32;
constexpr int64_t kBorder = 8;  // input pixels by which an image is mirrored outwards on each side

// The overlap for tiles of this size if the user gives none.
int default_overlap(int tile);

// Throws Error(FXSR_BAD_ARGUMENT): a tile and an overlap that can't work together.
void check_tiling(int tile, int overlap);

// One axis, cut into as few tiles as possible, all of one size and evenly spread. All values are input pixels.
struct AxisPlan {
  AxisPlan(int64_t length, int64_t tile, int64_t overlap);

  int64_t start(int64_t index) const;
  // Where the part that no tile after `index` touches ends.
  int64_t final_until(int64_t index) const { return index + 1 < count ? start(index + 1) : length; }

  int64_t length, size, count;
};

// An axis with a border at either end, or with less of it where a tile may have `most` pixels only (0: any number). An
// axis that fits into a tile without its border stays one tile.
AxisPlan bordered_axis(int64_t length, int64_t tile, int64_t overlap, int64_t most);

// Computes blending weights of tiles: over all tiles they add up to 1 at every pixel.
class Weights {
 public:
  Weights(Layout &layout, const AxisPlan &plan, int scale);
  // Write the weights of a tile, plan.size * scale of them.
  void write(int64_t index, float *weights) const;

 private:
  void ramp(int64_t index, double *window) const;
  int64_t shared(int64_t index) const;

  AxisPlan plan_;
  int64_t scale_;
  double *own_, *total_, *other_;
};

}  // namespace fxsr
