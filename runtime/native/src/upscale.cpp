#include "upscale.hpp"

#include <algorithm>
#include <cmath>

#include "error.hpp"
#include "half.hpp"
#include "pixels.hpp"

namespace fxsr {
namespace {

constexpr int64_t kLeastSide = 16;  // in smaller tiles the network sees mostly padding
constexpr float kLuma[] = {0.299f, 0.587f, 0.114f};  // ITU-R BT.601

size_t size(int64_t value) { return static_cast<size_t>(value); }

// How many of the missing pixels of a side are added before its beginning.
int64_t before(int64_t wanted, int64_t given) { return (wanted - given) / 2; }

}  // namespace

Upscaling::Upscaling(Layout &layout, const Graph &graph, const Tiling &tiling, const fxsr_image &in,
                     const fxsr_style &style)
    : graph_(graph),
      facts_(graph.facts()),
      in_(in),
      scale_(facts_.scale),
      channels_(in.channels),
      rows_(in.height, tiling.tile, tiling.overlap),
      columns_(in.width, tiling.tile, tiling.overlap),
      padded_height_(std::max(rows_.size, kLeastSide)),
      padded_width_(std::max(columns_.size, kLeastSide)),
      style_(layout, style, in.width, in.height, rows_.size),
      row_weights_(layout, rows_, facts_.scale),
      column_weights_(layout, columns_, facts_.scale) {
  const size_t tile = product({size(padded_height_), size(padded_width_)});
  const size_t bytes = element_bytes(facts_.type), area = size(scale_ * scale_);
  const size_t wide = size(columns_.length * scale_), high = size(rows_.size * scale_);
  down_ = layout.take<float>(high);
  across_ = layout.take<float>(product({size(columns_.count), size(columns_.size * scale_)}));
  line_ = layout.take<float>(std::max(wide, size(padded_width_)));
  band_ = layout.take<float>(product({size(channels_), high, wide}));
  lr_ = layout.take<std::byte>(product({tile, facts_.packed ? 4u : 3u, bytes}));
  t_map_ = layout.take<std::byte>(product({tile, bytes}));
  sr_ = layout.take<std::byte>(product({tile, area, 3u, bytes}));
}

void Upscaling::run(const fxsr_image &out) {
  for (int64_t column = 0; column < columns_.count; ++column) {
    column_weights_.write(column, across_ + column * columns_.size * scale_);
  }
  std::fill_n(band_, channels_ * rows_.size * scale_ * columns_.length * scale_, 0.0f);
  for (int64_t row = 0; row < rows_.count; ++row) {
    row_weights_.write(row, down_);
    const int64_t top = rows_.start(row);
    const float *styles = style_.is_uniform() ? nullptr : style_.rows(top, top + rows_.size);
    for (int64_t column = 0; column < columns_.count; ++column) run_tile(row, column, styles);
    finish(row, out);
  }
}

void Upscaling::run_tile(int64_t row, int64_t column, const float *style_rows) {
  const int64_t left = columns_.start(column);
  fill_lr(rows_.start(row), left);
  const Tensor style = fill_style(style_rows, left);
  const bool last = facts_.takes_bytes();
  const auto shape = [last](int64_t channels, int64_t height, int64_t width) {
    return last ? std::array<int64_t, 4>{1, height, width, channels}
                : std::array<int64_t, 4>{1, channels, height, width};
  };
  std::vector<Tensor> inputs{{lr_, shape(facts_.packed ? 4 : 3, padded_height_, padded_width_)}};
  if (facts_.inputs.size() == 2) inputs.push_back(style);
  graph_.run(inputs, {sr_, shape(3, padded_height_ * scale_, padded_width_ * scale_)});
  blend(column);
}

// The tile's pixels, mirrored outwards to the size that the model takes; grey in all three channels.
void Upscaling::fill_lr(int64_t top, int64_t left) {
  const int64_t above = before(padded_height_, rows_.size), leading = before(padded_width_, columns_.size);
  for (int64_t channel = 0; channel < 3; ++channel) {
    for (int64_t y = 0; y < padded_height_; ++y) {
      const int64_t from = top + mirrored(y - above, rows_.size);
      read_row(in_, left, from, std::min(channel, channels_ - 1), columns_.size, line_);
      for (int64_t x = 0; x < padded_width_; ++x) {
        put(size(channel), facts_.packed ? 4 : 3, y * padded_width_ + x, line_[mirrored(x - leading, columns_.size)]);
      }
    }
  }
}

// The tile's style: 1x1 where all pixels have one t, which costs less than a map of it.
Tensor Upscaling::fill_style(const float *style_rows, int64_t left) {
  const float first = style_rows ? style_rows[left] : style_.uniform();
  bool uniform = true;
  for (int64_t y = 0; style_rows && uniform && y < rows_.size; ++y) {
    const float *row = style_rows + y * in_.width + left;
    uniform = std::all_of(row, row + columns_.size, [first](float t) { return t == first; });
  }
  const int64_t above = before(padded_height_, rows_.size), leading = before(padded_width_, columns_.size);
  const auto value = [&](int64_t y, int64_t x) {
    if (uniform) return first;
    return style_rows[mirrored(y - above, rows_.size) * in_.width + left + mirrored(x - leading, columns_.size)];
  };
  const int64_t height = uniform ? 1 : padded_height_, width = uniform ? 1 : padded_width_;
  if (facts_.packed) {
    for (int64_t y = 0; y < padded_height_; ++y) {
      for (int64_t x = 0; x < padded_width_; ++x) put(3, 4, y * padded_width_ + x, value(y, x));
    }
    return {};
  }
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const int64_t at = y * width + x;
      const float t = value(y, x);
      if (facts_.type == DataType::kFloat32) static_cast<float *>(t_map_)[at] = t;
      if (facts_.type == DataType::kFloat16) static_cast<uint16_t *>(t_map_)[at] = float_to_half(t);
      if (facts_.type == DataType::kUint8) static_cast<unsigned char *>(t_map_)[at] = to_byte(t);
    }
  }
  return {t_map_, {1, 1, height, width}};
}

// Write one value of the graph's picture, in its type and layout.
void Upscaling::put(size_t channel, size_t channels, int64_t at, float value) {
  const size_t planar = channel * size(padded_height_ * padded_width_) + size(at);
  if (facts_.type == DataType::kFloat32) {
    static_cast<float *>(lr_)[planar] = value;
  } else if (facts_.type == DataType::kFloat16) {
    static_cast<uint16_t *>(lr_)[planar] = float_to_half(value);
  } else {
    static_cast<unsigned char *>(lr_)[size(at) * channels + channel] = to_byte(value);
  }
}

float Upscaling::sr_at(int64_t channel, int64_t y, int64_t x) const {
  const int64_t height = padded_height_ * scale_, width = padded_width_ * scale_;
  const size_t planar = size((channel * height + y) * width + x);
  if (facts_.type == DataType::kFloat32) return static_cast<const float *>(sr_)[planar];
  if (facts_.type == DataType::kFloat16) return half_to_float(static_cast<const uint16_t *>(sr_)[planar]);
  return static_cast<float>(static_cast<const unsigned char *>(sr_)[size((y * width + x) * 3 + channel)]) / 255.0f;
}

// Add the upscaled tile to the band. Of a grey image the luminance, since the network may tint grey slightly.
void Upscaling::blend(int64_t column) {
  const int64_t height = rows_.size * scale_, width = columns_.size * scale_, stride = columns_.length * scale_;
  const int64_t top = before(padded_height_, rows_.size) * scale_, left = before(padded_width_, columns_.size) * scale_;
  const float *across = across_ + column * width;
  bool finite = true;
  for (int64_t channel = 0; channel < channels_; ++channel) {
    for (int64_t y = 0; y < height; ++y) {
      float *to = band_ + (channel * height + y) * stride + columns_.start(column) * scale_;
      for (int64_t x = 0; x < width; ++x) {
        float value = sr_at(channel, top + y, left + x);
        if (channels_ == 1) {
          const float green = sr_at(1, top + y, left + x), blue = sr_at(2, top + y, left + x);
          value = std::fma(kLuma[2], blue, std::fma(kLuma[1], green, kLuma[0] * value));  // as BLAS rounds, mostly
        }
        finite &= std::isfinite(value);
        to[x] += value * down_[y] * across[x];
      }
    }
  }
  if (finite) return;
  if (facts_.precision == "fp32") {
    fail(FXSR_BAD_MODEL, foreign(facts_.name), " gives NaN or infinity: its weights may be damaged; check it with fxsr verify");
  }
  fail(FXSR_BAD_MODEL, foreign(facts_.name), " gives NaN or infinity: values of the image may be too large for half ",
       "precision; use a model in float32 (fxsr export --fp32)");
}

// Write the rows that no later row of tiles changes, and move the band down.
void Upscaling::finish(int64_t row, const fxsr_image &out) {
  const int64_t height = rows_.size * scale_, width = columns_.length * scale_;
  const int64_t top = rows_.start(row) * scale_, ready = rows_.final_until(row) * scale_ - top;
  for (int64_t channel = 0; channel < channels_; ++channel) {
    float *plane = band_ + channel * height * width;
    for (int64_t y = 0; y < ready; ++y) write_row(out, top + y, channel, width, plane + y * width);
    std::copy(plane + ready * width, plane + height * width, plane);
    std::fill(plane + (height - ready) * width, plane + height * width, 0.0f);
  }
}

void check_values(const fxsr_image &in, const Facts &facts) {
  const Range range = value_range(in);
  if (std::isnan(range.low) || std::isinf(range.low) || std::isinf(range.high)) {
    fail(FXSR_BAD_IMAGE, "the image holds NaN or infinity");
  }
  const float largest = std::max(std::abs(range.low), std::abs(range.high));
  if (facts.type == DataType::kFloat16 && largest > kLargestHalf) {
    fail(FXSR_BAD_IMAGE, "the image holds the value ", largest, "; ", foreign(facts.name), " computes up to ",
         kLargestHalf, "; use a model in float32 (fxsr export --fp32)");
  }
}

}  // namespace fxsr
