// An image and its style, mirrored outwards: fxsr/runtime/upscale/border.py.
#pragma once

#include "arena.hpp"
#include "fxsr.h"
#include "style.hpp"
#include "tiles.hpp"

namespace fxsr {

class Bordered {
 public:
  // `rows` and `columns` are those of the image with its border.
  Bordered(Layout &layout, const fxsr_image &in, const fxsr_style &style, const AxisPlan &rows,
           const AxisPlan &columns);

  int64_t above() const { return above_; }  // rows of the border above the image; below it are as many
  int64_t left() const { return left_; }
  // Write `count` values of a channel, from column `x` of row `y` on.
  void pixels(int64_t y, int64_t x, int64_t channel, int64_t count, float *values) const;

  // Make the style of a row of tiles, which begins at row `top`. What follows is about these rows.
  void take_styles(int64_t top);
  // Whether `count` columns from `x` on have one style.
  bool is_uniform(int64_t x, int64_t count) const;
  float first_style(int64_t x) const;
  // Write the styles of `count` columns, from column `x` of the row `y` rows below `top` on.
  void styles(int64_t y, int64_t x, int64_t count, float *values) const;

 private:
  struct Span {
    int64_t begin, end;
  };

  static Span shown(int64_t first, int64_t count, int64_t length);
  const float *style_row(int64_t y) const;
  template <class Copy>
  void line(int64_t x, int64_t count, float *values, Copy copy) const;

  fxsr_image in_;
  int64_t tall_, above_, left_;
  StyleRows style_;
  const float *map_ = nullptr;  // null: the style is uniform
  Span rows_{0, 0};             // of the style map, in map_
  int64_t top_ = 0;
};

}  // namespace fxsr
