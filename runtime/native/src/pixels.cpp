#include "pixels.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "error.hpp"
#include "half.hpp"

namespace fxsr {
namespace {

struct Axis {
  int64_t stride, length;
};

std::array<Axis, 3> axes(const fxsr_image &image) {
  return {
      {{image.row_stride, image.height}, {image.pixel_stride, image.width}, {image.channel_stride, image.channels}}};
}

std::byte *pixel(const fxsr_image &image, int64_t x, int64_t y, int64_t channel) {
  const int64_t offset = y * image.row_stride + x * image.pixel_stride + channel * image.channel_stride;
  return static_cast<std::byte *>(image.data) + offset;
}

template <typename T>
T load(const std::byte *from) {  // in any alignment
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void store(std::byte *to, T value) {
  std::memcpy(to, &value, sizeof value);
}

// numpy's clip, which keeps NaN
float clamped(float value, float low, float high) { return value < low ? low : value > high ? high : value; }

// Whether every two elements lie apart: the axes nest, from the shortest stride to the longest.
bool is_distinct(const fxsr_image &image) {
  std::array<Axis, 3> sorted = axes(image);
  std::sort(sorted.begin(), sorted.end(), [](Axis a, Axis b) { return std::abs(a.stride) < std::abs(b.stride); });
  int64_t extent = static_cast<int64_t>(element_bytes(image.type));
  for (const Axis &axis : sorted) {
    if (axis.length == 1) continue;
    if (std::abs(axis.stride) < extent) return false;
    extent += std::abs(axis.stride) * (axis.length - 1);
  }
  return true;
}

}  // namespace

size_t element_bytes(int type) { return type == FXSR_UINT8 ? 1 : type == FXSR_FLOAT32 ? 4 : 2; }

float full_intensity(int type) { return type == FXSR_UINT8 ? 255.0f : type == FXSR_UINT16 ? 65535.0f : 1.0f; }

Span byte_span(const fxsr_image &image) {
  Span span{0, static_cast<int64_t>(element_bytes(image.type))};
  for (const Axis &axis : axes(image)) {
    const int64_t reach = axis.stride * (axis.length - 1);
    (reach < 0 ? span.begin : span.end) += reach;
  }
  return span;
}

void check_image(const fxsr_image &image, ImageUse use, const char *name) {
  if (image.width < 1 || image.height < 1) {
    fail(FXSR_BAD_IMAGE, name, " is ", image.width, "x", image.height, "; both sides must be 1 or more");
  }
  const bool is_map = use == ImageUse::kMap;
  if (is_map ? image.channels != 1 : image.channels != 1 && image.channels != 3) {
    fail(FXSR_BAD_IMAGE, name, " has ", image.channels, " channels; it must have ",
         is_map ? "1" : "1 (grey) or 3 (RGB)");
  }
  if (image.type < FXSR_UINT8 || image.type > FXSR_FLOAT32) {
    fail(FXSR_BAD_IMAGE, name, " is of type ", image.type, "; it must be an fxsr_type");
  }
  if (image.memory != FXSR_HOST && (image.memory != FXSR_CUDA || is_map)) {
    fail(FXSR_BAD_IMAGE, name, " is in memory ", image.memory, "; it must be in ",
         is_map ? "FXSR_HOST" : "an fxsr_memory");
  }
  if (use == ImageUse::kMeasured) return;
  if (!image.data) fail(FXSR_BAD_IMAGE, name, " has no data");
  int64_t room = std::numeric_limits<int64_t>::max() / 4;
  for (const Axis &axis : axes(image)) {
    if (axis.length == 1) continue;
    const int64_t most = room / (axis.length - 1);
    if (axis.stride > most || axis.stride < -most)
      fail(FXSR_BAD_IMAGE, name, " has a stride of ", axis.stride, " bytes");
    room -= std::abs(axis.stride) * (axis.length - 1);
  }
  if (use == ImageUse::kOutput && !is_distinct(image)) {
    fail(FXSR_BAD_IMAGE, name, " has strides of ", image.row_stride, ", ", image.pixel_stride, " and ",
         image.channel_stride, " bytes (row, pixel, channel), with which its elements would overlap");
  }
}

void check_apart(const fxsr_image &in, const fxsr_image &out) {
  const Span a = byte_span(in), b = byte_span(out);
  const auto first = reinterpret_cast<uintptr_t>(in.data), second = reinterpret_cast<uintptr_t>(out.data);
  const uintptr_t begin_a = first + static_cast<uintptr_t>(a.begin), end_a = first + static_cast<uintptr_t>(a.end);
  const uintptr_t begin_b = second + static_cast<uintptr_t>(b.begin), end_b = second + static_cast<uintptr_t>(b.end);
  if (begin_a < end_b && begin_b < end_a) {
    fail(FXSR_BAD_IMAGE, "the input and the output share memory; the output must be elsewhere");
  }
}

Range value_range(const fxsr_image &image) {
  if (image.type < FXSR_FLOAT16) return {0, 1};
  constexpr int64_t kPart = 256;
  std::array<float, kPart> values;
  Range range{std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t channel = 0; channel < image.channels; ++channel) {
      for (int64_t x = 0; x < image.width; x += kPart) {
        const int64_t count = std::min<int64_t>(kPart, image.width - x);
        read_row(image, x, y, channel, count, values.data());
        for (int64_t at = 0; at < count; ++at) {
          const float value = values[static_cast<size_t>(at)];
          if (std::isnan(value)) return {value, value};
          range.low = std::min(range.low, value);
          range.high = std::max(range.high, value);
        }
      }
    }
  }
  return range;
}

void read_row(const fxsr_image &image, int64_t x, int64_t y, int64_t channel, int64_t count, float *values) {
  const std::byte *from = pixel(image, x, y, channel);
  const int64_t stride = image.pixel_stride;
  const auto fill = [&](auto convert) {
    for (int64_t at = 0; at < count; ++at) values[at] = convert(from + at * stride);
  };
  switch (image.type) {
    case FXSR_UINT8:
      return fill([](const std::byte *p) { return static_cast<float>(load<uint8_t>(p)) / 255.0f; });
    case FXSR_UINT16:
      return fill([](const std::byte *p) { return static_cast<float>(load<uint16_t>(p)) / 65535.0f; });
    case FXSR_FLOAT16:
      return fill([](const std::byte *p) { return half_to_float(load<uint16_t>(p)); });
    default:
      return fill([](const std::byte *p) { return load<float>(p); });
  }
}

void write_row(const fxsr_image &image, int64_t y, int64_t channel, int64_t count, const float *values) {
  std::byte *to = pixel(image, 0, y, channel);
  const int64_t stride = image.pixel_stride;
  const auto fill = [&](auto convert) {
    for (int64_t at = 0; at < count; ++at) store(to + at * stride, convert(values[at]));
  };
  switch (image.type) {
    case FXSR_UINT8:
      return fill(to_byte);
    case FXSR_UINT16:
      return fill([](float v) { return static_cast<uint16_t>(clamped(v, 0, 1) * 65535.0f + 0.5f); });
    case FXSR_FLOAT16:
      return fill([](float v) { return float_to_half(clamped(v, -kLargestHalf, kLargestHalf)); });
    default:
      return fill([](float v) { return v; });
  }
}

unsigned char to_byte(float value) { return static_cast<unsigned char>(clamped(value, 0, 1) * 255.0f + 0.5f); }

}  // namespace fxsr
