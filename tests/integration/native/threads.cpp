// Eight threads share one model, one worker each, and half of them submit: threads MODEL.onnx
//
// All must get the same pixels. ThreadSanitizer watches.
#include <cstdio>
#include <fxsr.hpp>
#include <thread>
#include <vector>

namespace {

constexpr int kThreads = 8, kRounds = 3, kSide = 24;

std::vector<unsigned char> upscale(fxsr::Worker &worker, bool queued) {
  std::vector<unsigned char> in(kSide * kSide * 3);
  for (size_t at = 0; at < in.size(); ++at) in[at] = static_cast<unsigned char>(at * 7);
  const fxsr_image from = fxsr::image(FXSR_RGB, in.data(), kSide, kSide);
  const auto size = worker.measure(from);
  std::vector<unsigned char> out(size.bytes), second(size.bytes);
  const fxsr_image to = fxsr::image(FXSR_RGB, out.data(), size.width, size.height);
  const fxsr::Style style(0.5f);
  if (!queued) {
    worker.run(from, style, to);
    return out;
  }
  const fxsr_image to_second = fxsr::image(FXSR_RGB, second.data(), size.width, size.height);
  const fxsr_ticket first = worker.submit(from, fxsr::Style(0.1f), to_second), last = worker.submit(from, style, to);
  while (!worker.done(last)) std::this_thread::yield();
  if (!worker.done(first)) throw fxsr::Failure(FXSR_FAILED, "a later ticket was done first");
  worker.wait(last);
  return out;
}

}  // namespace

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  fxsr::Options options;
  options.threads = 1;
  std::vector<std::vector<unsigned char>> results(kThreads);
  {
    const fxsr::Model model(argv[1], options);
    std::vector<std::thread> threads;
    for (size_t number = 0; number < kThreads; ++number) {
      threads.emplace_back([&, number] {
        fxsr::Worker worker(model);
        for (int round = 0; round < kRounds; ++round) results[number] = upscale(worker, number % 2);
      });
    }
    for (std::thread &thread : threads) thread.join();
  }
  for (const auto &result : results) {
    if (result != results.front() || result.empty()) {
      std::puts("threads got different pixels");
      return 1;
    }
  }
  std::puts("all threads got the same pixels");
  return 0;
}
