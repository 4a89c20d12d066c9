"""The counters at `/metrics`, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fxsr.extras import needs
from fxsr.runtime.serve.scheduler import BatchReport

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_JOB_SECONDS = (1, 5, 20, 60, 300, 1200, 3600)
_TILES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """Counters of one server, in a registry of its own.

    Args:
        in_flight: returns the number of requests that are being answered.
        waiting: returns the number of tiles that wait.
        backlog: returns the seconds of work that were accepted.
        jobs: return the number of jobs, by state.
        stored: returns the size of the files of all jobs, in bytes.

    Raises:
        MissingExtraError: the package prometheus_client is not installed.
    """

    def __init__(
        self,
        in_flight: Callable[[], int],
        waiting: Callable[[], int],
        backlog: Callable[[], float],
        jobs: Mapping[str, Callable[[], int]],
        stored: Callable[[], int],
    ) -> None:
        with needs("serve"):
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "fxsr_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "fxsr_request_seconds", "Seconds from request to answer.", ["route"], registry=registry, buckets=_SECONDS
        )
        self._tiles = Counter("fxsr_tiles", "Tiles upscaled.", ["model"], registry=registry)
        self._batches = Histogram("fxsr_batch_tiles", "Tiles in a batch.", ["model"], registry=registry, buckets=_TILES)
        self._device = Gauge(
            "fxsr_device_memory_bytes", "Device memory that a model uses.", ["model"], registry=registry
        )
        Gauge("fxsr_requests_in_flight", "Requests being answered.", registry=registry).set_function(in_flight)
        Gauge("fxsr_tiles_waiting", "Tiles waiting for a batch.", registry=registry).set_function(waiting)
        Gauge("fxsr_backlog_seconds", "Forecast of the time for all accepted work.", registry=registry).set_function(
            backlog
        )
        kept = Gauge("fxsr_jobs", "Jobs that wait, run, or have a kept result.", ["state"], registry=registry)
        for state, count in jobs.items():
            kept.labels(state).set_function(count)
        Gauge("fxsr_jobs_stored_bytes", "Size of the files of jobs.", registry=registry).set_function(stored)
        self._jobs = Counter("fxsr_jobs_ended", "Jobs that ended.", ["outcome"], registry=registry)
        self._job_seconds = Histogram(
            "fxsr_job_seconds", "Seconds from a job's request to its end.", registry=registry, buckets=_JOB_SECONDS
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def job(self, outcome: str, seconds: float) -> None:
        """Count a job that has ended."""
        self._jobs.labels(outcome).inc()
        self._job_seconds.observe(seconds)

    def batch(self, batch: BatchReport) -> None:
        """Count a batch."""
        self._tiles.labels(batch.model).inc(batch.tiles)
        self._batches.labels(batch.model).observe(batch.tiles)
        if batch.device_bytes is not None:
            self._device.labels(batch.model).set(batch.device_bytes)

    def text(self) -> tuple[bytes, str]:
        """All counters in Prometheus' text format, and the media type of that."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return generate_latest(self._registry), CONTENT_TYPE_LATEST
