// What fxsr_run adds to ONNX Runtime's own time for the same graph on 256x256 pixels: overhead MODEL.onnx ROUNDS
//
// The model takes 8 bits. Both run in turns, in this thread; the smallest processor times are compared, since other
// programs only add to them.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <fxsr.hpp>
#include <iterator>
#include <string>
#include <vector>

#include "onnx_graph.hpp"

namespace {

double thread_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

template <typename Call>
double milliseconds(Call call) {
  const double begin = thread_milliseconds();
  call();
  return thread_milliseconds() - begin;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  constexpr int kSide = 256;
  fxsr::Options options;
  options.threads = 1;
  const fxsr::Model model(argv[1], options);
  fxsr::Worker worker(model);
  std::ifstream file(argv[1], std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  fxsr::GraphOptions graph_options;
  graph_options.threads = 1;
  const fxsr::OnnxGraph graph(bytes, graph_options);

  std::vector<unsigned char> in(kSide * kSide * 3, 90);
  const fxsr_image from = fxsr::image(FXSR_RGB, in.data(), kSide, kSide);
  const auto size = worker.measure(from);
  std::vector<unsigned char> out(size.bytes);
  const fxsr_image to = fxsr::image(FXSR_RGB, out.data(), size.width, size.height);
  unsigned char t = 204;
  const std::vector<fxsr::Tensor> inputs{{in.data(), {1, kSide, kSide, 3}}, {&t, {1, 1, 1, 1}}};
  const fxsr::Tensor output{out.data(), {1, size.height, size.width, 3}};
  double ours = 1e9, theirs = 1e9;
  for (int round = 0; round < std::atoi(argv[2]); ++round) {
    ours = std::min(ours, milliseconds([&] { worker.run(from, fxsr::Style(0.8f), to); }));
    theirs = std::min(theirs, milliseconds([&] { graph.run(inputs, output); }));
  }
  std::printf("fxsr_run %.2f ms, ONNX Runtime %.2f ms, overhead %.3f ms\n", ours, theirs, ours - theirs);
  return 0;
}
