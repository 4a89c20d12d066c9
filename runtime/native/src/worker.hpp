// A worker: its buffers, and a queue of images that a thread of its own upscales in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "arena.hpp"
#include "cuda.hpp"
#include "graph.hpp"
#include "upscale.hpp"

namespace fxsr {

// What one call asks for, copied from the caller's structs.
struct Job {
  fxsr_image in{}, out{}, map{};
  fxsr_style style{};
  void *stream = nullptr;
  // Lets style.map point to the copy, after this job has been moved or copied.
  void bind() {
    if (style.map) style.map = &map;
  }
};

class Worker {
 public:
  Worker(std::shared_ptr<const Graph> graph, const Tiling &tiling);
  ~Worker();  // waits for all tickets
  Worker(const Worker &) = delete;
  Worker &operator=(const Worker &) = delete;

  void measure(Job job, fxsr_output_size &size) const;

  // Both throw Error. A job is checked at once, but for the values of images in a GPU's memory.
  void run(Job job);
  uint64_t submit(Job job);

  // Both throw Error(FXSR_BAD_ARGUMENT): there is no such ticket.
  bool is_done(uint64_t ticket);
  // Throws the job's Error too.
  void wait(uint64_t ticket);

 private:
  struct Failure {
    int status = FXSR_OK;
    std::string text;
  };
  struct Pending {
    Job job;
    Failure failure;
    bool done = false;
  };

  void check(Job &job);
  void check_ticket(uint64_t ticket) const;
  void work() noexcept;
  Failure attempt(Job &job) noexcept;
  void upscale(Job &job);
  void upscale_host(const Job &job, void *stream);
  const CudaDriver &driver(int device);

  const std::shared_ptr<const Graph> graph_;
  const Tiling tiling_;
  std::unique_ptr<Runner> runner_;  // made when it is needed, since that may fail
  Arena arena_, staging_;
  std::map<int, CudaDriver> drivers_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<uint64_t, Pending> pending_;  // by ticket; of the jobs that are done, only failures are kept
  uint64_t last_ticket_ = 0, next_job_ = 1;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace fxsr
