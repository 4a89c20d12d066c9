// A stand-in for OpenCV's header: what examples/opencv_mat.cpp uses of it.
#pragma once

#include <opencv2/core.hpp>
#include <string>

namespace cv {

enum ImreadModes { IMREAD_COLOR = 1 };
Mat imread(const std::string &path, int flags);
bool imwrite(const std::string &path, const Mat &mat);

}  // namespace cv
