// Upscales frames with a map that moves from frame to frame: moving_map MODEL.onnx WIDTH HEIGHT < in.rgb > out.rgb
//
// Frames are packed RGB of 8 bits on standard input and output. Two are in work at once: while the worker upscales one,
// this thread reads the next. A soft column of t = 1 walks over the picture; elsewhere t is 0.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fxsr.hpp>
#include <vector>

namespace {

struct Frame {
  std::vector<unsigned char> in, out, map;
  fxsr_ticket ticket = 0;
};

void draw_map(std::vector<unsigned char> &map, int width, int number) {
  const int column = number * 4 % width;
  for (size_t at = 0; at < map.size(); ++at) {
    const int distance = std::abs(static_cast<int>(at) % width - column);
    map[at] = distance < width / 8 ? 255 : 0;
  }
}

}  // namespace

int main(int argc, char **argv) try {
  if (argc != 4) {
    std::fputs("usage: moving_map MODEL.onnx WIDTH HEIGHT < in.rgb > out.rgb\n", stderr);
    return 2;
  }
  const int width = std::atoi(argv[2]), height = std::atoi(argv[3]);
  const fxsr::Model model(argv[1]);
  std::array<Frame, 2> frames;
  fxsr::Worker worker(model);  // after the frames, so that it ends before them
  const auto pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  const auto size = worker.measure(fxsr::image<unsigned char>(FXSR_RGB, nullptr, width, height));
  for (Frame &frame : frames) {
    frame.in.resize(3 * pixels);
    frame.map.resize(pixels);
    frame.out.resize(size.bytes);
  }
  const auto finish = [&](Frame &frame) {
    if (!frame.ticket) return;
    worker.wait(frame.ticket);
    frame.ticket = 0;
    if (std::fwrite(frame.out.data(), 1, frame.out.size(), stdout) != frame.out.size()) {
      throw fxsr::Failure(FXSR_FAILED, "standard output can't be written");
    }
  };
  int number = 0;
  for (;; ++number) {
    Frame &frame = frames[static_cast<size_t>(number % 2)];
    finish(frame);
    const size_t found = std::fread(frame.in.data(), 1, frame.in.size(), stdin);
    if (found == 0) break;
    if (found != frame.in.size()) throw fxsr::Failure(FXSR_BAD_IMAGE, "standard input ends within a frame");
    draw_map(frame.map, width, number);
    const fxsr::Style style(fxsr::image(FXSR_GREY, frame.map.data(), width, height), 6);
    frame.ticket = worker.submit(fxsr::image(FXSR_RGB, frame.in.data(), width, height), style,
                                 fxsr::image(FXSR_RGB, frame.out.data(), size.width, size.height));
  }
  finish(frames[static_cast<size_t>((number + 1) % 2)]);
  return 0;
} catch (const std::exception &error) {
  std::fprintf(stderr, "moving_map: %s\n", error.what());
  return 1;
}
