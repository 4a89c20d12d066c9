// Upscales a picture with OpenCV: opencv_mat MODEL.onnx IN OUT [T]. A cv::Mat is B, G, R, with any stride.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fxsr.hpp>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>

namespace {

fxsr_image describe(const cv::Mat &mat) {
  return fxsr::image(FXSR_BGR, mat.data, mat.cols, mat.rows, static_cast<int64_t>(mat.step));
}

}  // namespace

int main(int argc, char **argv) try {
  if (argc < 4) {
    std::fputs("usage: opencv_mat MODEL.onnx IN OUT [T]\n", stderr);
    return 2;
  }
  const cv::Mat in = cv::imread(argv[2], cv::IMREAD_COLOR);
  const fxsr::Model model(argv[1]);
  fxsr::Worker worker(model);
  const int scale = model.info().scale;
  cv::Mat out(in.rows * scale, in.cols * scale, CV_8UC3);
  worker.run(describe(in), fxsr::Style(argc > 4 ? std::strtof(argv[4], nullptr) : 0.8f), describe(out));
  return !cv::imwrite(argv[3], out);
} catch (const std::exception &error) {
  std::fprintf(stderr, "opencv_mat: %s\n", error.what());
  return 1;
}
