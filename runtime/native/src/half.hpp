// IEEE 754 half precision: conversion from and to float, rounding to nearest even, as numpy does it.
#pragma once

#include <cstdint>
#include <cstring>

namespace fxsr {

constexpr float kLargestHalf = 65504.0f;

inline float bits_to_float(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t float_to_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float half_to_float(uint16_t half) {
  const uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 0x1Fu, fraction = half & 0x3FFu;
  if (exponent == 0x1F) return bits_to_float(sign | 0x7F800000u | fraction << 13);
  if (exponent != 0) return bits_to_float(sign | (exponent + 112) << 23 | fraction << 13);
  const float small = static_cast<float>(fraction) * 0x1p-24f;  // subnormal, or zero
  return bits_to_float(sign | float_to_bits(small));
}

inline uint16_t float_to_half(float value) {
  const uint32_t bits = float_to_bits(value), sign = bits >> 16 & 0x8000u, size = bits & 0x7FFFFFFFu;
  if (size > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);   // NaN
  if (size >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);  // rounds to infinity
  if (size < 0x38800000u) {                                               // subnormal: adding 0.5 rounds at 2^-24
    const uint32_t rounded = float_to_bits(bits_to_float(size) + 0.5f) - 0x3F000000u;
    return static_cast<uint16_t>(sign | rounded);
  }
  const uint32_t odd = size >> 13 & 1u;
  return static_cast<uint16_t>(sign | (size - (112u << 23) + 0xFFFu + odd) >> 13);
}

}  // namespace fxsr
