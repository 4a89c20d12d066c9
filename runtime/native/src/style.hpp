// The style of an image, row by row: one t, or a map with its borders softened (fxsr/styles/style_map.py and maps.py).
#pragma once

#include "arena.hpp"
#include "fxsr.h"

namespace fxsr {

constexpr float kDefaultStyle = 0.8f;  // the authors' choice for perceptual results (paper, table 1)

// Throws Error(FXSR_BAD_STYLE or FXSR_BAD_IMAGE): the style can't be used with an image of this size.
// `values`: also look at the map's pixels.
void check_style(const fxsr_style &style, const fxsr_image &in, bool values);

class StyleRows {
 public:
  // `most_rows`: the largest number of rows that will be asked for at once.
  StyleRows(Layout &layout, const fxsr_style &style, int64_t width, int64_t height, int64_t most_rows);

  bool is_uniform() const { return !has_map_; }
  float uniform() const { return t_; }
  // Rows `start` to `stop` of the map, each `width` floats; valid until the next call.
  const float *rows(int64_t start, int64_t stop);

 private:
  void feather(float *plane, int64_t height);
  void blur(double half, int64_t count, int64_t stride, float *line);

  bool has_map_;
  fxsr_image map_{};
  float t_;
  double feather_;
  int64_t width_, height_;
  float *plane_ = nullptr, *padded_ = nullptr;
  double *sums_ = nullptr;
};

// The index of what lies at `index`, also outside of 0..count-1, in an axis that is mirrored at both ends, ends
// included.
int64_t mirrored(int64_t index, int64_t count);

}  // namespace fxsr
