#include "border.hpp"

#include <algorithm>

#include "pixels.hpp"

namespace fxsr {

Bordered::Bordered(Layout &layout, const fxsr_image &in, const fxsr_style &style, const AxisPlan &rows,
                   const AxisPlan &columns)
    : in_(in),
      tall_(rows.size),
      above_((rows.length - in.height) / 2),
      left_((columns.length - in.width) / 2),
      style_(layout, style, in.width, in.height, rows.size) {}

void Bordered::pixels(int64_t y, int64_t x, int64_t channel, int64_t count, float *values) const {
  const int64_t row = mirrored(y - above_, in_.height);
  line(x, count, values, [&](int64_t from, int64_t number, float *to) {
    read_row(in_, from, row, channel, number, to);
  });
}

void Bordered::take_styles(int64_t top) {
  if (style_.is_uniform()) return;
  top_ = top;
  rows_ = shown(top - above_, tall_, in_.height);
  map_ = style_.rows(rows_.begin, rows_.end);
}

bool Bordered::is_uniform(int64_t x, int64_t count) const {
  if (!map_) return true;
  const float first = first_style(x);
  const Span columns = shown(x - left_, count, in_.width);
  for (int64_t y = 0; y < rows_.end - rows_.begin; ++y) {
    const float *row = map_ + y * in_.width;
    if (!std::all_of(row + columns.begin, row + columns.end, [first](float t) { return t == first; })) return false;
  }
  return true;
}

float Bordered::first_style(int64_t x) const {
  return map_ ? style_row(0)[mirrored(x - left_, in_.width)] : style_.uniform();
}

void Bordered::styles(int64_t y, int64_t x, int64_t count, float *values) const {
  const float *row = style_row(y);
  line(x, count, values, [row](int64_t from, int64_t number, float *to) { std::copy_n(row + from, number, to); });
}

// The part of an axis that `count` places from `first` on show, some of which may lie outside.
Bordered::Span Bordered::shown(int64_t first, int64_t count, int64_t length) {
  Span span{length, 0};
  for (int64_t at = first; at < first + count; ++at) {
    span.begin = std::min(span.begin, mirrored(at, length));
    span.end = std::max(span.end, mirrored(at, length) + 1);
  }
  return span;
}

const float *Bordered::style_row(int64_t y) const {
  return map_ + (mirrored(top_ + y - above_, in_.height) - rows_.begin) * in_.width;
}

// Copy what lies inside of the image at once, and what is mirrored one by one.
template <class Copy>
void Bordered::line(int64_t x, int64_t count, float *values, Copy copy) const {
  const int64_t first = x - left_;
  const int64_t begin = std::clamp<int64_t>(first, 0, in_.width);
  const int64_t end = std::clamp<int64_t>(first + count, 0, in_.width);
  for (int64_t at = first; at < first + count; ++at) {
    if (at >= begin && at < end) continue;
    copy(mirrored(at, in_.width), 1, values + at - first);
  }
  if (begin < end) copy(begin, end - begin, values + begin - first);
}

}  // namespace fxsr
