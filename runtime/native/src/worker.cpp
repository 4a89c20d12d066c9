#include "worker.hpp"

#include <cstring>
#include <limits>

#include "error.hpp"
#include "pixels.hpp"

namespace fxsr {
namespace {

void check_outputs(const Job &job, int scale) {
  const fxsr_image &in = job.in, &out = job.out;
  const int64_t width = static_cast<int64_t>(in.width) * scale, height = static_cast<int64_t>(in.height) * scale;
  if (out.width != width || out.height != height || out.channels != in.channels) {
    fail(FXSR_BAD_IMAGE, "the output is ", out.width, "x", out.height, " with ", out.channels, " channels; it must be ",
         width, "x", height, " with ", in.channels);
  }
  if (in.memory == out.memory) check_apart(in, out);
}

void check_size(const fxsr_image &in, int scale) {
  const int most = std::numeric_limits<int32_t>::max() / scale;
  if (in.width > most || in.height > most) fail(FXSR_BAD_IMAGE, "the input's sides must be at most ", most, " pixels");
}

// A description of `image` with its pixels at `copy`, where the bytes of its span lie.
fxsr_image moved(const fxsr_image &image, std::byte *copy) {
  fxsr_image here = image;
  here.memory = FXSR_HOST;
  here.data = copy - byte_span(image).begin;
  return here;
}

size_t span_bytes(const fxsr_image &image) {
  const Span span = byte_span(image);
  return static_cast<size_t>(span.end - span.begin);
}

std::byte *span_begin(const fxsr_image &image) { return static_cast<std::byte *>(image.data) + byte_span(image).begin; }

}  // namespace

Worker::Worker(std::shared_ptr<const Graph> graph, const Tiling &tiling) : graph_(std::move(graph)), tiling_(tiling) {}

Worker::~Worker() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Worker::measure(Job job, fxsr_output_size &size) const {
  job.bind();
  check_image(job.in, ImageUse::kMeasured, "the input");
  check_size(job.in, graph_->facts().scale);
  check_style(job.style, job.in, false);
  Layout layout(nullptr);
  const Upscaling upscaling(layout, *graph_, tiling_, job.in, job.style);
  if (upscaling.tiles() > std::numeric_limits<int32_t>::max()) fail(FXSR_BAD_IMAGE, "the input has too many tiles");
  const auto channels = static_cast<size_t>(job.in.channels);
  size.width = job.in.width * graph_->facts().scale;
  size.height = job.in.height * graph_->facts().scale;
  size.tiles = static_cast<int32_t>(upscaling.tiles());
  size.row_bytes = product({static_cast<size_t>(size.width), channels, element_bytes(job.in.type)});
  size.bytes = product({size.row_bytes, static_cast<size_t>(size.height)});
  size.work_bytes = layout.used();
}

void Worker::check(Job &job) {
  job.bind();
  check_image(job.in, ImageUse::kInput, "the input");
  check_size(job.in, graph_->facts().scale);
  check_image(job.out, ImageUse::kOutput, "the output");
  check_outputs(job, graph_->facts().scale);
  check_style(job.style, job.in, true);
  if (job.in.memory == FXSR_HOST) check_values(job.in, graph_->facts());
  const bool on_gpu = job.in.memory == FXSR_CUDA || job.out.memory == FXSR_CUDA;
  if (job.stream && !on_gpu) fail(FXSR_BAD_ARGUMENT, "a CUDA stream was given for images in host memory");
}

void Worker::run(Job job) {
  check(job);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return next_job_ > last_ticket_; });  // the buffers are free
  lock.unlock();
  upscale(job);
}

uint64_t Worker::submit(Job job) {
  check(job);
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { work(); });
  const auto [entry, fresh] = pending_.try_emplace(last_ticket_ + 1);
  static_cast<void>(fresh);
  entry->second.job = job;
  entry->second.job.bind();
  ++last_ticket_;
  changed_.notify_all();
  return last_ticket_;
}

void Worker::work() noexcept {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return closing_ || next_job_ <= last_ticket_; });
    if (next_job_ > last_ticket_) return;
    Pending &pending = pending_.find(next_job_)->second;  // references stay valid while others are added
    lock.unlock();
    Failure failure = attempt(pending.job);
    lock.lock();
    if (failure.status == FXSR_OK) {
      pending_.erase(next_job_);
    } else {
      pending.failure = std::move(failure);
      pending.done = true;
    }
    ++next_job_;
    changed_.notify_all();
  }
}

Worker::Failure Worker::attempt(Job &job) noexcept {
  try {
    try {
      upscale(job);
      return {};
    } catch (const Error &error) {
      return {error.status(), error.what()};
    } catch (const std::bad_alloc &) {
      return {FXSR_NO_MEMORY, {}};
    } catch (const std::exception &error) {
      return {FXSR_FAILED, error.what()};
    }
  } catch (...) {  // there was no memory for the text
    return {FXSR_NO_MEMORY, {}};
  }
}

bool Worker::is_done(uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  check_ticket(ticket);
  return ticket < next_job_;
}

void Worker::wait(uint64_t ticket) {
  std::unique_lock lock(mutex_);
  check_ticket(ticket);
  changed_.wait(lock, [this, ticket] { return ticket < next_job_; });
  const auto found = pending_.find(ticket);
  if (found == pending_.end()) return;
  Failure failure = std::move(found->second.failure);
  pending_.erase(found);
  if (failure.status == FXSR_NO_MEMORY && failure.text.empty()) throw std::bad_alloc();
  throw Error(failure.status, std::move(failure.text));
}

void Worker::check_ticket(uint64_t ticket) const {
  if (ticket == 0 || ticket > last_ticket_) {
    fail(FXSR_BAD_ARGUMENT, "there is no ticket ", ticket, "; this worker has given ", last_ticket_);
  }
}

// Images in a GPU's memory go through host memory, where tiles are cut and blended.
void Worker::upscale(Job &job) {
  if (job.in.memory == FXSR_HOST && job.out.memory == FXSR_HOST) return upscale_host(job, nullptr);
  Job here = job;
  here.bind();
  const auto aligned = [](size_t bytes) {
    return (bytes + Layout::kAlignment - 1) / Layout::kAlignment * Layout::kAlignment;
  };
  const bool in_gpu = job.in.memory == FXSR_CUDA, out_gpu = job.out.memory == FXSR_CUDA;
  const size_t in_bytes = in_gpu ? aligned(span_bytes(job.in)) : 0, out_bytes = out_gpu ? span_bytes(job.out) : 0;
  std::byte *block = staging_.reserve(in_bytes + out_bytes);
  if (out_gpu) {  // also what lies between its pixels, to write that back unchanged
    here.out = moved(job.out, block + in_bytes);
    driver(job.out.device).download(block + in_bytes, span_begin(job.out), out_bytes, job.stream);
  }
  if (in_gpu) {
    here.in = moved(job.in, block);
    driver(job.in.device).download(block, span_begin(job.in), span_bytes(job.in), job.stream);
    check_values(here.in, graph_->facts());
  }
  const int device = in_gpu ? job.in.device : job.out.device;
  upscale_host(here, device == graph_->device() ? job.stream : nullptr);
  if (out_gpu) driver(job.out.device).upload(span_begin(job.out), block + in_bytes, out_bytes, job.stream);
}

void Worker::upscale_host(const Job &job, void *stream) {
  if (!runner_) runner_ = graph_->runner();
  Layout needed(nullptr);
  Upscaling(needed, *graph_, tiling_, job.in, job.style);
  Layout layout(arena_.reserve(needed.used()));
  Upscaling(layout, *graph_, tiling_, job.in, job.style).run(job.out, *runner_, stream);
}

const CudaDriver &Worker::driver(int device) { return drivers_.try_emplace(device, device).first->second; }

}  // namespace fxsr
