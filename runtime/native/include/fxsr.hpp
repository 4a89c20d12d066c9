// FxSR for C++17: fxsr.h with ownership and exceptions. Header-only; see fxsr.h for what the values mean.
//
//   const fxsr::Model model("model.onnx");
//   fxsr::Worker worker(model);                        // one per thread
//   const auto size = worker.measure(in);
//   std::vector<unsigned char> pixels(size.bytes);
//   worker.run(in, fxsr::Style(0.8f), fxsr::image(FXSR_RGB, pixels.data(), size.width, size.height));
#ifndef FXSR_HPP
#define FXSR_HPP

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "fxsr.h"

namespace fxsr {

// Thrown where a function of fxsr.h fails.
class Failure : public std::runtime_error {
 public:
  Failure(int status, const std::string &text) : std::runtime_error(text), status_(status) {}
  int status() const noexcept { return status_; }

 private:
  int status_;
};

// Pixels of type unsigned char, uint16_t or float. `row_stride` in bytes; 0: rows are packed.
template <typename T>
fxsr_image image(fxsr_layout layout, T *data, int width, int height, int64_t row_stride = 0) {
  using Element = std::remove_const_t<T>;
  static_assert(std::is_same_v<Element, uint8_t> || std::is_same_v<Element, uint16_t> ||
                std::is_same_v<Element, float>);
  constexpr fxsr_type type = sizeof(T) == 1 ? FXSR_UINT8 : sizeof(T) == 2 ? FXSR_UINT16 : FXSR_FLOAT32;
  fxsr_image made{};
  const int status = fxsr_image_init(&made, layout, type, const_cast<Element *>(data), width, height, row_stride);
  if (status != FXSR_OK) throw Failure(status, "an image has a wrong layout or size");
  return made;
}

struct Options : fxsr_options {
  Options() { fxsr_options_init(this); }
};

// One t for all pixels, or a map, whose struct is copied.
class Style {
 public:
  explicit Style(float t) { fxsr_style_init(&style_, t); }
  explicit Style(const fxsr_image &map, float feather = 0) : map_(map) {
    fxsr_style_init(&style_, 0);
    style_.feather = feather;
    has_map_ = true;
  }
  // Valid as long as this object is.
  fxsr_style get() const {
    fxsr_style style = style_;
    style.map = has_map_ ? &map_ : nullptr;
    return style;
  }

 private:
  fxsr_style style_{};
  fxsr_image map_{};
  bool has_map_ = false;
};

class Model {
 public:
  explicit Model(const std::string &path, const fxsr_options &options = Options()) {
    fxsr_model *opened = nullptr;
    const int status = fxsr_open(path.c_str(), &options, &opened);
    model_.reset(opened);
    if (status != FXSR_OK) throw Failure(status, fxsr_open_error(opened));
  }

  fxsr_info info() const {
    fxsr_info info{};
    info.size = sizeof info;
    fxsr_get_info(get(), &info);
    return info;
  }

  const fxsr_model *get() const { return model_.get(); }

 private:
  struct Close {
    void operator()(fxsr_model *model) const { fxsr_close(model); }
  };
  std::unique_ptr<fxsr_model, Close> model_;
};

class Worker {
 public:
  explicit Worker(const Model &model) {
    fxsr_worker *made = nullptr;
    const int status = fxsr_worker_new(model.get(), &made);
    worker_.reset(made);
    if (status != FXSR_OK) throw Failure(status, std::string("no worker: ") + fxsr_status_name(status));
  }

  fxsr_output_size measure(const fxsr_image &in, const Style &style = Style(0.8f)) {
    fxsr_output_size size{};
    size.size = sizeof size;
    const fxsr_style plain = style.get();
    check(fxsr_measure(get(), &in, &plain, &size));
    return size;
  }

  void run(const fxsr_image &in, const Style &style, const fxsr_image &out) {
    const fxsr_style plain = style.get();
    check(fxsr_run(get(), &in, &plain, &out));
  }

  // The pixels, those of a map too, must stay until the ticket is done.
  fxsr_ticket submit(const fxsr_image &in, const Style &style, const fxsr_image &out, void *cuda_stream = nullptr) {
    fxsr_ticket ticket = 0;
    const fxsr_style plain = style.get();
    check(fxsr_submit(get(), &in, &plain, &out, cuda_stream, &ticket));
    return ticket;
  }

  bool done(fxsr_ticket ticket) { return check(fxsr_done(get(), ticket)) == 1; }
  void wait(fxsr_ticket ticket) { check(fxsr_wait(get(), ticket)); }

  fxsr_worker *get() { return worker_.get(); }

 private:
  int check(int status) {
    if (status < 0) throw Failure(status, fxsr_error(get()));
    return status;
  }

  struct Free {
    void operator()(fxsr_worker *worker) const { fxsr_worker_free(worker); }
  };
  std::unique_ptr<fxsr_worker, Free> worker_;
};

}  // namespace fxsr

#endif
