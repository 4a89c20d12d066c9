"""`fxsr run --ray`: the jobs of a run on the machines of a Ray cluster, through Ray Data.

jobs -> Ray Data, one block each -> actors that have the model open (one per GPU) -> results as they come

A worker that dies is started anew, and what it had in work is done again: an output appears whole or not at all, so
nothing is spoilt by that. Files must be where all machines see them: on a shared file system, or behind URLs.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from fxsr.errors import DeviceError, FxsrError, UsageError, first_line
from fxsr.extras import needs
from fxsr.runtime.jobs.jobs import Done, Failure, Job, RunOptions, failure
from fxsr.runtime.jobs.pipeline import run_jobs
from fxsr.runtime.jobs.places import AnyPlaces, as_url
from fxsr.runtime.upscale.upscaler import Upscaler, load

_ADDRESS = re.compile(r"(.+):(\d{1,5})")
_RETRIES = 2
"""How often an image is tried again whose worker died."""
_PATIENCE = 10
"""Seconds to wait for a cluster to answer."""


@dataclass(frozen=True)
class WorkerSetup:
    """What every worker opens, and how it does its jobs."""

    model: str
    options: RunOptions
    device: str = "auto"
    tile: int | Literal["auto"] | None = None
    overlap: int | None = None
    provider: str = "auto"
    trust: bool = False


def run_on_cluster(
    jobs: Sequence[Job], setup: WorkerSetup, address: str, workers: int | None = None
) -> Iterator[Done | Failure]:
    """Do jobs on a cluster and say how each ended, as they end.

    Args:
        jobs: with paths that all machines see, or URLs.
        address: of the cluster; "auto" the one that this machine belongs to, "local" a new one of this machine alone.
        workers: how many; None: one per GPU, or without any one per two CPUs.

    Raises:
        DeviceError: there is no cluster at the address.
        MissingExtraError: Ray is not installed.
        FxsrError: the cluster failed beyond what starting workers anew can mend, or no worker can open the model.
    """
    if not jobs:
        return
    places = AnyPlaces()
    sent = tuple(
        Job(places.absolute(job.source), places.absolute(job.target), job.t_map and places.absolute(job.t_map))
        for job in jobs
    )
    with _cluster(address) as ray:
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = min(len(jobs), workers or gpus or max(1, cpus // 2))
        # Ray never starts a worker whose share is not to be had: more workers than GPUs or CPUs get a part of one
        share: dict[str, Any] = (
            {"num_gpus": 1 / math.ceil(count / gpus)}
            if gpus and setup.device != "cpu"
            else {"num_cpus": min(cpus // count, _smallest(ray)) or cpus / count}
        )
        rows = ray.data.from_items([{"number": number} for number in range(len(jobs))], override_num_blocks=len(jobs))
        with warnings.catch_warnings():  # what it says will come in place of this is not there yet
            warnings.filterwarnings("ignore", message="`ray_remote_args_fn` is deprecated")
            done = rows.map(
                _Worker,
                fn_constructor_args=(setup, sent),
                # one at a time: what waits in a worker that dies has used up one of its tries as well
                compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
                ray_remote_args_fn=lambda: {"max_task_retries": _RETRIES},
                **share,
            )
        left = dict(enumerate(jobs))
        try:
            for row in done.iter_rows():
                job, result = left.pop(row["number"]), row["result"]
                yield replace(result, file=job.source) if isinstance(result, Failure) else replace(result, job=job)
            for job in left.values():
                yield Failure(job.source, f"its worker died, {_RETRIES + 1} times")
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None)
            raise cause if isinstance(cause, FxsrError) else FxsrError(f"Ray failed: {_last_line(error)}") from error


def _smallest(ray: Any) -> int:
    """CPUs of the node that has the fewest: a worker's share must be had on one."""
    found = (int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return min((each for each in found if each), default=1)


class _Worker:
    """One process of the cluster."""

    def __init__(self, setup: WorkerSetup, jobs: Sequence[Job]) -> None:
        self._setup = setup
        self._jobs = jobs
        self._upscaler = load(
            setup.model, setup.device, setup.tile, setup.overlap, provider=setup.provider, trust=setup.trust
        )

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"result": _do_anywhere(self._jobs[row["number"]], self._upscaler, self._setup.options)}


def _do_anywhere(job: Job, upscaler: Upscaler, options: RunOptions) -> Done | Failure:
    """One job, whose files may be behind URLs: those are copied to this machine, and back."""
    if not any(as_url(path) for path in (job.source, job.target, job.t_map) if path):
        return _run(job, upscaler, options)
    places = AnyPlaces()
    try:
        if options.skip_existing and places.exists(job.target):
            return Done(job)
        with TemporaryDirectory(prefix="fxsr-") as folder:
            copies = Job(Path(folder, f"in{job.source.suffix}"), Path(folder, f"out{job.target.suffix}"))
            places.fetch(job.source, copies.source)
            if job.t_map:
                copies = replace(copies, t_map=Path(folder, f"t_map{job.t_map.suffix}"))
                places.fetch(job.t_map, copies.t_map or Path())
            result = _run(copies, upscaler, options)
            if isinstance(result, Failure):
                return Failure(job.source, result.reason.replace(f"{folder}/", ""))
            places.send(copies.target, job.target)
        return replace(result, job=job)
    except (FxsrError, OSError) as error:
        return failure(job, error)


def _run(job: Job, upscaler: Upscaler, options: RunOptions) -> Done | Failure:
    with closing(run_jobs([job], upscaler, options, lambda job: lambda done, total: None, 1)) as results:
        (result,) = results
    # an error holds what can't go over the wire
    return replace(result, error=None) if isinstance(result, Failure) else result


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected, and silent but for what goes wrong."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report to its makers
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with needs("ray"):
        import ray
        import ray.data
    _check_reachable(address)
    local: dict[str, Any] = {}
    if address == "local":  # nobody else's business, and this run's work itself: not below that of others
        os.environ.setdefault("RAY_worker_niceness", "0")
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address,
            logging_level=logging.ERROR,
            log_to_driver=False,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise DeviceError(
            f"no Ray cluster at {address} ({first_line(error)}); start one, or give --ray local"
        ) from error
    for number, handler in handlers.items():  # Ray puts its own there
        signal.signal(number, handler)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # an image that its worker dies of does not end the others
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Ray itself would try for minutes, and say much."""
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray {address}: Ray Data can't be steered from outside a cluster; run this on one of its nodes"
        )
    found = _ADDRESS.fullmatch(address)
    if address in ("local", "auto"):
        return
    if not found:
        raise UsageError(f"--ray is {address!r}; it must be local, auto or HOST:PORT")
    try:
        socket.create_connection((found[1], int(found[2])), timeout=_PATIENCE).close()
    except OSError as error:
        raise DeviceError(f"no Ray cluster at {address} ({error}); start one, or give --ray local") from error


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:300]
