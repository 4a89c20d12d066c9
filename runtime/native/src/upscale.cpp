#include "upscale.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.hpp"
#include "half.hpp"
#include "pixels.hpp"

namespace fxsr {
namespace {

constexpr int64_t kLeastSide = 16;                   // in smaller tiles the network sees mostly padding
constexpr float kLuma[] = {0.299f, 0.587f, 0.114f};  // ITU-R BT.601

size_t size(int64_t value) { return static_cast<size_t>(value); }

// How many of the missing pixels of a side are added before its beginning.
int64_t before(int64_t wanted, int64_t given) { return (wanted - given) / 2; }

// The side to which a tile is padded, for a model that takes `least` to `most`; most 0: any.
int64_t padded(int64_t side, int64_t least, int64_t most) {
  return std::max({side, least, most ? std::min(kLeastSide, most) : kLeastSide});
}

}  // namespace

Upscaling::Upscaling(Layout &layout, const Graph &graph, const Tiling &tiling, const fxsr_image &in,
                     const fxsr_style &style)
    : facts_(graph.facts()),
      limits_(graph.limits()),
      in_(in),
      scale_(facts_.scale),
      channels_(in.channels),
      rows_(bordered_axis(in.height, tiling.tile, tiling.overlap, std::min(limits_.height, limits_.width))),
      columns_(bordered_axis(in.width, tiling.tile, tiling.overlap, std::min(limits_.height, limits_.width))),
      padded_height_(padded(rows_.size, limits_.least_height, limits_.height)),
      padded_width_(padded(columns_.size, limits_.least_width, limits_.width)),
      most_(std::max(limits_.least_batch, std::min(limits_.batch, columns_.count))),
      source_(layout, in, style, rows_, columns_),
      row_weights_(layout, rows_, facts_.scale),
      column_weights_(layout, columns_, facts_.scale) {
  const size_t tile = product({size(most_), size(padded_height_), size(padded_width_)});
  const size_t bytes = element_bytes(facts_.type), area = size(scale_ * scale_);
  const size_t wide = size(columns_.length * scale_), high = size(rows_.size * scale_);
  const size_t tile_wide = size(padded_width_ * scale_);
  down_ = layout.take<float>(high);
  across_ = layout.take<float>(product({size(columns_.count), size(columns_.size * scale_)}));
  line_ = layout.take<float>(tile_wide);
  green_ = layout.take<float>(channels_ == 1 ? tile_wide : 0);
  blue_ = layout.take<float>(channels_ == 1 ? tile_wide : 0);
  band_ = layout.take<float>(tiles() == 1 ? 0 : product({size(channels_), high, wide}));
  lr_ = layout.take<std::byte>(product({tile, facts_.packed ? 4u : 3u, bytes}));
  t_map_ = layout.take<std::byte>(product({tile, bytes}));
  sr_ = layout.take<std::byte>(product({tile, area, 3u, bytes}));
}

void Upscaling::run(const fxsr_image &out, Runner &runner, void *stream) {
  runner_ = &runner;
  stream_ = stream;
  if (tiles() == 1) return run_only_tile(out);
  for (int64_t column = 0; column < columns_.count; ++column) {
    column_weights_.write(column, across_ + column * columns_.size * scale_);
  }
  std::fill_n(band_, channels_ * rows_.size * scale_ * columns_.length * scale_, 0.0f);
  for (int64_t row = 0; row < rows_.count; ++row) {
    row_weights_.write(row, down_);
    run_row(row);
    finish(row, out);
  }
}

// Upscale a row of tiles into the band. Neighbours of one kind share a batch, and a row of tiles is a batch at most.
void Upscaling::run_row(int64_t row) {
  const int64_t top = rows_.start(row);
  source_.take_styles(top);
  Batch batch;
  for (int64_t column = 0; column < columns_.count; ++column) {
    const int64_t left = columns_.start(column);
    const bool uniform = source_.is_uniform(left, columns_.size);
    if (batch.count == most_ || (batch.count > 0 && uniform != batch.uniform)) {
      run_batch(batch);
      batch.count = 0;
    }
    if (batch.count == 0) batch = {uniform, column, 0};
    fill_lr(batch.count, top, left);
    fill_style(batch.count, left, uniform);
    ++batch.count;
  }
  run_batch(batch);
}

// Run a batch, filled up with copies of its last tile to what the model takes, and blend its tiles.
void Upscaling::run_batch(const Batch &batch) {
  const bool last = facts_.takes_bytes();
  const int64_t count = std::max(batch.count, limits_.least_batch), channels = facts_.packed ? 4 : 3;
  const auto shape = [last, count](int64_t planes, int64_t height, int64_t width) {
    return last ? std::array<int64_t, 4>{count, height, width, planes}
                : std::array<int64_t, 4>{count, planes, height, width};
  };
  const int64_t style_height = batch.uniform ? 1 : padded_height_, style_width = batch.uniform ? 1 : padded_width_;
  for (int64_t index = batch.count; index < count; ++index) {
    const auto repeat = [&](void *tiles, int64_t planes, int64_t height, int64_t width) {
      const size_t bytes = tensor_bytes(facts_.type, {1, planes, height, width});
      std::memcpy(part(tiles, index, planes, height, width), part(tiles, index - 1, planes, height, width), bytes);
    };
    repeat(lr_, channels, padded_height_, padded_width_);
    if (facts_.inputs.size() == 2) repeat(t_map_, 1, style_height, style_width);
  }
  std::vector<Tensor> inputs{{lr_, shape(channels, padded_height_, padded_width_)}};
  if (facts_.inputs.size() == 2) inputs.push_back({t_map_, {count, 1, style_height, style_width}});
  runner_->run(inputs, {sr_, shape(3, padded_height_ * scale_, padded_width_ * scale_)}, stream_);
  if (tiles() == 1) return;
  for (int64_t index = 0; index < batch.count; ++index) blend(index, batch.first + index);
}

// The picture number `index` in a buffer of such pictures.
void *Upscaling::part(void *tiles, int64_t index, int64_t channels, int64_t height, int64_t width) const {
  return static_cast<std::byte *>(tiles) + size(index) * tensor_bytes(facts_.type, {1, channels, height, width});
}

// The tile's pixels, mirrored outwards to the size that the model takes; grey in all three channels.
void Upscaling::fill_lr(int64_t index, int64_t top, int64_t left) {
  if (lr_ == in_.data) return;
  const int64_t planes = facts_.packed ? 4 : 3;
  const Plane plane{part(lr_, index, planes, padded_height_, padded_width_), planes, padded_height_, padded_width_};
  const int64_t above = before(padded_height_, rows_.size), leading = before(padded_width_, columns_.size);
  for (int64_t channel = 0; channel < 3; ++channel) {
    for (int64_t y = 0; y < padded_height_; ++y) {
      const int64_t from = top + mirrored(y - above, rows_.size);
      source_.pixels(from, left, std::min(channel, channels_ - 1), columns_.size, line_ + leading);
      mirror_row(columns_.size);
      store_row(plane, channel, y);
    }
  }
}

// One t for all pixels of a tile, which costs less than a map of it, or a map.
void Upscaling::fill_style(int64_t index, int64_t left, bool uniform) {
  const float first = source_.first_style(left);
  if (uniform && !facts_.packed) {
    line_[0] = first;
    store_row({part(t_map_, index, 1, 1, 1), 1, 1, 1}, 0, 0);
    return;
  }
  const int64_t planes = facts_.packed ? 4 : 1;
  const Plane plane{part(facts_.packed ? lr_ : t_map_, index, planes, padded_height_, padded_width_), planes,
                    padded_height_, padded_width_};
  const int64_t above = before(padded_height_, rows_.size), leading = before(padded_width_, columns_.size);
  for (int64_t y = 0; y < padded_height_; ++y) {
    if (uniform) {
      std::fill_n(line_, padded_width_, first);
    } else {
      source_.styles(mirrored(y - above, rows_.size), left, columns_.size, line_ + leading);
      mirror_row(columns_.size);
    }
    store_row(plane, plane.channels - 1, y);
  }
}

// Extend `count` values in the middle of line_ to both ends of a padded row.
void Upscaling::mirror_row(int64_t count) {
  const int64_t leading = before(padded_width_, count);
  for (int64_t x = 0; x < leading; ++x) line_[x] = line_[leading + mirrored(x - leading, count)];
  for (int64_t x = leading + count; x < padded_width_; ++x) line_[x] = line_[leading + mirrored(x - leading, count)];
}

// Write line_ to a row of one of the graph's inputs, in its type and layout.
void Upscaling::store_row(const Plane &plane, int64_t channel, int64_t y) const {
  const int64_t planar = (channel * plane.height + y) * plane.width;
  if (facts_.type == DataType::kFloat32) {
    std::copy_n(line_, plane.width, static_cast<float *>(plane.data) + planar);
  } else if (facts_.type == DataType::kFloat16) {
    std::transform(line_, line_ + plane.width, static_cast<uint16_t *>(plane.data) + planar, float_to_half);
  } else {
    auto *to = static_cast<unsigned char *>(plane.data) + y * plane.width * plane.channels + channel;
    for (int64_t x = 0; x < plane.width; ++x) to[x * plane.channels] = to_byte(line_[x]);
  }
}

// A row of the upscaled tile, without the padding; valid until the next call. Of a grey image the luminance, since the
// network may tint grey slightly.
const float *Upscaling::sr_row(int64_t index, int64_t channel, int64_t y) {
  const void *sr = part(sr_, index, 3, padded_height_ * scale_, padded_width_ * scale_);
  const int64_t height = padded_height_ * scale_, width = padded_width_ * scale_, count = columns_.size * scale_;
  const int64_t top = before(padded_height_, rows_.size) * scale_, left = before(padded_width_, columns_.size) * scale_;
  const auto load = [&](int64_t from, float *line) {
    const int64_t planar = (from * height + top + y) * width + left;
    if (facts_.type == DataType::kFloat32) {
      std::copy_n(static_cast<const float *>(sr) + planar, count, line);
    } else if (facts_.type == DataType::kFloat16) {
      const auto *values = static_cast<const uint16_t *>(sr) + planar;
      std::transform(values, values + count, line, half_to_float);
    } else {
      const auto *values = static_cast<const unsigned char *>(sr) + ((top + y) * width + left) * 3 + from;
      for (int64_t x = 0; x < count; ++x) line[x] = static_cast<float>(values[3 * x]) / 255.0f;
    }
  };
  load(channel, line_);
  if (channels_ == 1) {
    load(1, green_);
    load(2, blue_);
    for (int64_t x = 0; x < count; ++x) {  // as BLAS rounds, mostly
      line_[x] = std::fma(kLuma[2], blue_[x], std::fma(kLuma[1], green_[x], kLuma[0] * line_[x]));
    }
  }
  check_finite(line_, count);
  return line_;
}

void Upscaling::check_finite(const float *values, int64_t count) const {
  bool finite = true;
  for (int64_t at = 0; at < count; ++at) finite &= std::isfinite(values[at]);
  if (finite) return;
  const bool half = facts_.precision != "fp32";
  fail(FXSR_BAD_MODEL, foreign(facts_.name), " gives NaN or infinity: ",
       half ? "values of the image may be too large for half precision; use a model in float32 (fxsr export --fp32)"
            : "its weights may be damaged; check it with fxsr verify");
}

// Add the upscaled tile to the band.
void Upscaling::blend(int64_t index, int64_t column) {
  const int64_t height = rows_.size * scale_, width = columns_.size * scale_, stride = columns_.length * scale_;
  const float *across = across_ + column * width;
  for (int64_t channel = 0; channel < channels_; ++channel) {
    for (int64_t y = 0; y < height; ++y) {
      const float *from = sr_row(index, channel, y);
      float *to = band_ + (channel * height + y) * stride + columns_.start(column) * scale_;
      const float down = down_[y];
      for (int64_t x = 0; x < width; ++x) to[x] += from[x] * down * across[x];
    }
  }
}

// All weights of a single tile are 1. Pixels that are laid out as the graph takes and gives them are not copied.
void Upscaling::run_only_tile(const fxsr_image &out) {
  if (!facts_.packed && is_graphs_own(in_, 1)) lr_ = in_.data;
  if (is_graphs_own(out, scale_)) sr_ = out.data;
  run_row(0);
  if (sr_ == out.data && facts_.takes_bytes()) return;
  const int64_t width = in_.width * scale_, height = in_.height * scale_;
  float *line = line_ + source_.left() * scale_;
  for (int64_t channel = 0; channel < channels_; ++channel) {
    for (int64_t y = 0; y < height; ++y) {
      sr_row(0, channel, source_.above() * scale_ + y);
      for (int64_t x = 0; x < width; ++x) line[x] += 0.0f;  // no negative zeros, as blending gives none
      write_row(out, y, channel, width, line);
    }
  }
}

// Whether an image has the type and the layout of the graph's picture, `scale` times the size of the padded tile.
bool Upscaling::is_graphs_own(const fxsr_image &image, int64_t scale) const {
  const bool bytes = facts_.takes_bytes();
  if (image.type != (bytes ? FXSR_UINT8 : FXSR_FLOAT32) || facts_.type == DataType::kFloat16 || most_ > 1) return false;
  const int64_t element = bytes ? 1 : 4, pixel = element * (bytes ? 3 : 1), row = pixel * image.width;
  return image.channels == 3 && image.width == padded_width_ * scale && image.height == padded_height_ * scale &&
         image.pixel_stride == pixel && image.row_stride == row &&
         image.channel_stride == (bytes ? element : row * image.height) &&
         reinterpret_cast<uintptr_t>(image.data) % static_cast<uintptr_t>(element) == 0;
}

// Write the rows that no later row of tiles changes, and move the band down.
void Upscaling::finish(int64_t row, const fxsr_image &out) {
  const int64_t height = rows_.size * scale_, width = columns_.length * scale_;
  const int64_t top = rows_.start(row) * scale_, ready = rows_.final_until(row) * scale_ - top;
  for (int64_t channel = 0; channel < channels_; ++channel) {
    float *plane = band_ + channel * height * width;
    for (int64_t y = 0; y < ready; ++y) {
      const int64_t to = top + y - source_.above() * scale_;
      if (to < 0 || to >= in_.height * scale_) continue;
      write_row(out, to, channel, in_.width * scale_, plane + y * width + source_.left() * scale_);
    }
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
