"""What Triton's statistics extension reports about a model: counts and times since the server began.

Source: Triton Inference Server, protocol/extension_statistics.md.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from fxsr.runtime.serve.pace import Execution
from fxsr.runtime.serve.scheduler import BatchReport


@dataclass
class _Total:
    """How often something happened, and how long it took in all."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, count: int = 1) -> None:
        self.count += count
        self.seconds += seconds

    def described(self) -> dict[str, int]:
        return {"count": self.count, "ns": round(self.seconds * 1e9)}


@dataclass
class _ModelStatistics:
    success: _Total = field(default_factory=_Total)
    fail: _Total = field(default_factory=_Total)
    queue: _Total = field(default_factory=_Total)
    batches: defaultdict[int, _Total] = field(default_factory=lambda: defaultdict(_Total))
    """By number of tiles."""
    device_bytes: int | None = None
    last: float = 0.0
    """When the last request came, in seconds since 1970."""


class Statistics:
    """Statistics of all models of a server. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: defaultdict[str, _ModelStatistics] = defaultdict(_ModelStatistics)

    @contextmanager
    def request(self, model: str) -> Iterator[None]:
        """Count the block as a request, which fails if it raises an error."""
        begin = time.perf_counter()
        with self._lock:
            self._models[model].last = time.time()
        done = False
        try:
            yield
            done = True
        finally:
            with self._lock:
                found = self._models[model]
                (found.success if done else found.fail).add(time.perf_counter() - begin)

    def batch(self, batch: BatchReport) -> None:
        """Count the waiting time of a batch's tiles."""
        with self._lock:
            found = self._models[batch.model]
            found.queue.add(batch.waited, batch.tiles)
            found.device_bytes = batch.device_bytes

    def execution(self, execution: Execution) -> None:
        """Count a batch that a session has run."""
        with self._lock:
            self._models[execution.work.model].batches[execution.work.tiles].add(execution.seconds)

    def described(self, model: str, version: str, gpu: int) -> dict[str, Any]:
        """A model's statistics in the protocol's words. Inferences are tiles; `success` and `fail` count requests.

        Args:
            gpu: number of the GPU that it runs on, if it does.
        """
        with self._lock:
            found = self._models[model]
            batches = {size: total.described() for size, total in sorted(found.batches.items())}
            nothing = _Total().described()
            compute = {
                "count": sum(size * batch["count"] for size, batch in batches.items()),
                "ns": sum(size * batch["ns"] for size, batch in batches.items()),
            }
            memory = [] if found.device_bytes is None else [{"type": "GPU", "id": gpu, "byte_size": found.device_bytes}]
            return {
                "name": model,
                "version": version,
                "last_inference": round(found.last * 1000),
                "inference_count": compute["count"],
                "execution_count": sum(batch["count"] for batch in batches.values()),
                "inference_stats": {
                    "success": found.success.described(),
                    "fail": found.fail.described(),
                    "queue": found.queue.described(),
                    "compute_input": nothing,
                    "compute_infer": compute,
                    "compute_output": nothing,
                    "cache_hit": nothing,
                    "cache_miss": nothing,
                },
                "batch_stats": [
                    {
                        "batch_size": size,
                        "compute_input": nothing,
                        "compute_infer": batch,
                        "compute_output": nothing,
                    }
                    for size, batch in batches.items()
                ],
                "memory_usage": memory,
            }
