// Upscales one image: tiles, styles, blending. The same arithmetic as fxsr/runtime/upscale, in the same order.
#pragma once

#include "arena.hpp"
#include "border.hpp"
#include "graph.hpp"
#include "tiles.hpp"

namespace fxsr {

struct Tiling {
  int tile = kDefaultTile, overlap = kDefaultOverlap;
};

class Upscaling {
 public:
  // Places all buffers in `layout`. Only layout.used() is of use if that has no memory.
  // `in` and `style` have been checked.
  Upscaling(Layout &layout, const Graph &graph, const Tiling &tiling, const fxsr_image &in, const fxsr_style &style);

  int64_t tiles() const { return rows_.count * columns_.count; }

  // `stream`: see Runner::run. Throws Error: FXSR_NO_MEMORY, FXSR_BAD_MODEL or FXSR_FAILED.
  void run(const fxsr_image &out, Runner &runner, void *stream);

 private:
  // A picture that the graph takes or gives: `channels` values per pixel where they are interleaved.
  struct Plane {
    void *data;
    int64_t channels, height, width;
  };
  // Tiles of one kind, a map or one style each, that run together.
  struct Batch {
    bool uniform = false;
    int64_t first = 0, count = 0;  // columns
  };

  bool is_graphs_own(const fxsr_image &image, int64_t scale) const;
  void run_row(int64_t row);
  void run_batch(const Batch &batch);
  void fill_lr(int64_t index, int64_t top, int64_t left);
  void fill_style(int64_t index, int64_t left, bool uniform);
  void *part(void *tiles, int64_t index, int64_t channels, int64_t height, int64_t width) const;
  void mirror_row(int64_t count);
  void store_row(const Plane &plane, int64_t channel, int64_t y) const;
  const float *sr_row(int64_t index, int64_t channel, int64_t y);
  void check_finite(const float *values, int64_t count) const;
  void blend(int64_t index, int64_t column);
  void finish(int64_t row, const fxsr_image &out);
  void run_only_tile(const fxsr_image &out);

  const Facts &facts_;
  const Limits &limits_;
  Runner *runner_ = nullptr;
  void *stream_ = nullptr;
  fxsr_image in_;
  int64_t scale_, channels_;
  AxisPlan rows_, columns_;  // of the image with its border
  int64_t padded_height_, padded_width_;
  int64_t most_;  // tiles in a batch
  Bordered source_;
  Weights row_weights_, column_weights_;
  float *down_, *across_, *band_, *line_, *green_, *blue_;
  void *lr_, *t_map_, *sr_;  // lr_ and sr_ may be the caller's own pixels: see run
};

// Throws Error(FXSR_BAD_IMAGE): values that overflow in the model's type, which would spoil whole tiles.
void check_values(const fxsr_image &in, const Facts &facts);

}  // namespace fxsr
