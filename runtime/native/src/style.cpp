#include "style.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "pixels.hpp"

namespace fxsr {
namespace {

constexpr int kBoxes = 3;  // approximate a Gaussian: Gwosdek et al., 2011

int64_t reach_of(double feather) { return static_cast<int64_t>(std::ceil(feather)) + kBoxes; }  // each is rounded up

// Most padding of a line; a box wider than the line would give the mean as well.
int64_t padding_of(double feather, int64_t count) {
  return static_cast<int64_t>(std::min(feather / kBoxes, static_cast<double>(count))) + 1;
}

}  // namespace

void check_style(const fxsr_style &style, const fxsr_image &in, bool values) {
  if (!style.map) {
    if (!(style.t >= 0 && style.t <= 1)) fail(FXSR_BAD_STYLE, "t is ", style.t, "; it must be 0 to 1");
    return;
  }
  if (!(style.feather >= 0 && std::isfinite(style.feather))) {
    fail(FXSR_BAD_STYLE, "feather is ", style.feather, "; it must be a number of pixels, 0 or more");
  }
  const fxsr_image &map = *style.map;
  if (map.width != in.width || map.height != in.height) {
    fail(FXSR_BAD_STYLE, "the style map is ", map.width, "x", map.height, " and the image ", in.width, "x", in.height,
         "; resize the map first");
  }
  check_image(map, values ? ImageUse::kMap : ImageUse::kMeasured, "the style map");
  if (!values) return;
  const Range range = value_range(map);
  if (!(range.low >= 0 && range.high <= 1)) {
    fail(FXSR_BAD_STYLE, "style values must lie in 0..1; these reach from ", range.low, " to ", range.high);
  }
}

StyleRows::StyleRows(Layout &layout, const fxsr_style &style, int64_t width, int64_t height, int64_t most_rows)
    : has_map_(style.map != nullptr),
      t_(style.t),
      feather_(static_cast<double>(style.feather)),
      width_(width),
      height_(height) {
  if (!has_map_) return;
  map_ = *style.map;
  // the reach is cut to the image first, since a feather may be any number
  const double reach = std::min(feather_ + kBoxes + 1, static_cast<double>(height));
  const int64_t rows = std::min(height, most_rows + 2 * static_cast<int64_t>(reach));
  plane_ = layout.take<float>(product({static_cast<size_t>(rows), static_cast<size_t>(width)}));
  if (feather_ > 0) {
    const int64_t longest = std::max(width, rows);
    const auto line = static_cast<size_t>(longest + 2 * padding_of(feather_, longest));
    padded_ = layout.take<float>(line);
    sums_ = layout.take<double>(line);
  }
}

const float *StyleRows::rows(int64_t start, int64_t stop) {
  const int64_t reach = feather_ < static_cast<double>(height_) ? reach_of(feather_) : height_;
  const int64_t top = feather_ > 0 ? std::max<int64_t>(0, start - reach) : start;
  const int64_t bottom = feather_ > 0 ? std::min(height_, stop + reach) : stop;
  for (int64_t y = top; y < bottom; ++y) read_row(map_, 0, y, 0, width_, plane_ + (y - top) * width_);
  if (feather_ > 0) feather(plane_, bottom - top);
  return plane_ + (start - top) * width_;
}

void StyleRows::feather(float *plane, int64_t height) {
  const int64_t count = width_ * height;
  const auto [low, high] = std::minmax_element(plane, plane + count);
  const float least = *low, most = *high;
  const double wide = std::min(feather_ / kBoxes, static_cast<double>(width_));
  const double tall = std::min(feather_ / kBoxes, static_cast<double>(height));
  for (int64_t y = 0; y < height; ++y) blur(wide, width_, 1, plane + y * width_);
  for (int64_t x = 0; x < width_; ++x) blur(tall, height, width_, plane + x);
  for (int64_t at = 0; at < count; ++at) plane[at] = std::clamp(plane[at], least, most);  // the sums are rounded
}

// Three means over `half` pixels to either side, whose fraction weights the outermost ones. The same sums in the same
// order as fxsr/styles/maps.py, so that both round alike.
void StyleRows::blur(double half, int64_t count, int64_t stride, float *line) {
  const auto whole = static_cast<int64_t>(half);
  const auto part = static_cast<float>(half - static_cast<double>(whole));
  const int64_t before = whole + 1, length = count + 2 * before;
  for (int box = 0; box < kBoxes; ++box) {
    for (int64_t at = 0; at < length; ++at) padded_[at] = line[mirrored(at - before, count) * stride];
    double sum = 0;
    for (int64_t at = 0; at < length; ++at) sums_[at] = sum += static_cast<double>(padded_[at]);
    for (int64_t at = 0; at < count; ++at) {
      const double inner = sums_[at + 2 * whole + 1] - sums_[at];
      const float outer = part * (padded_[at] + padded_[at + 2 * whole + 2]);
      line[at * stride] = static_cast<float>((inner + static_cast<double>(outer)) / (2 * half + 1));
    }
  }
}

int64_t mirrored(int64_t index, int64_t count) {
  const int64_t period = 2 * count;
  const int64_t at = (index % period + period) % period;
  return at < count ? at : period - 1 - at;
}

}  // namespace fxsr
