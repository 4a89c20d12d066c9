// Checks images of the interface, and moves pixels between them and planes of floats.
#pragma once

#include <cstddef>
#include <cstdint>

#include "fxsr.h"

namespace fxsr {

size_t element_bytes(int type);
// The value that means full intensity: 255, 65535 or 1.
float full_intensity(int type);

// The bytes that an image occupies, from its data pointer: begin <= 0 < end.
struct Span {
  int64_t begin, end;
};
Span byte_span(const fxsr_image &image);

enum class ImageUse { kInput, kMap, kOutput, kMeasured };

// Throws Error(FXSR_BAD_IMAGE): the image can't be used as that. `name` stands in the message.
void check_image(const fxsr_image &image, ImageUse use, const char *name);

// Throws Error(FXSR_BAD_IMAGE): out and in share memory.
void check_apart(const fxsr_image &in, const fxsr_image &out);

// The smallest and the largest value of a float image. NaN makes both NaN. (0, 1) for integers, whose values always
// fit.
struct Range {
  float low, high;
};
Range value_range(const fxsr_image &image);

// `count` values of one channel from (x, y) to the right, in 0..1 for integers.
void read_row(const fxsr_image &image, int64_t x, int64_t y, int64_t channel, int64_t count, float *values);

// Write `count` values from the left border; integers are rounded and clamped, halves are clamped to what they hold.
void write_row(const fxsr_image &image, int64_t y, int64_t channel, int64_t count, const float *values);

// Values in 0..1, clamped and rounded to 0..255.
unsigned char to_byte(float value);

}  // namespace fxsr
