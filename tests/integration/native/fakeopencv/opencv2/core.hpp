// A stand-in for OpenCV's header: what examples/opencv_mat.cpp uses of it.
#pragma once

#include <cstddef>

#define CV_8UC3 16

namespace cv {

struct MatStep {
  operator size_t() const { return value; }
  size_t value = 0;
};

struct Mat {
  Mat() = default;
  Mat(int height, int width, int type) : rows(height), cols(width) { static_cast<void>(type); }
  int rows = 0, cols = 0;
  unsigned char *data = nullptr;
  MatStep step;
};

}  // namespace cv
