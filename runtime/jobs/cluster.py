"""`fxsr run --ray`: does the jobs of a run on the machines of a Ray cluster, through Ray Data.

jobs -> Ray Data, one block each -> actors that hold the opened model (one per GPU) -> results as they arrive

A worker that dies is started again, and its job is done again. That is safe, since outputs appear whole or not at all.
Files must be where all machines can reach them: on a shared file system, or behind URLs.
"""

from __future__ import annotations

import logging
import math
import os
import re
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from fxsr.errors import DeviceError, FxsrError, UsageError, first_line
from fxsr.extras import needs
from fxsr.runtime.describe import describe
from fxsr.runtime.jobs.jobs import FAILURES, Done, Failure, Job, RunOptions, job_failure
from fxsr.runtime.jobs.pipeline import run_jobs
from fxsr.runtime.jobs.places import Place, absolute, exists, fetch, rename_files, send
from fxsr.runtime.jobs.runner import ModelChoice, Results, Runner, remove_leftovers
from fxsr.runtime.upscale.upscaler import Progress, Upscaler
from fxsr.scratch import scratch_folder
from fxsr.styles.automatic.registry import AutomaticStyle
from fxsr.styles.style_map import StyleMap

_ADDRESS = re.compile(r"(.+):(\d{1,5})")
_RETRIES = 2
"""How often a job is tried again after its worker died."""
_PATIENCE = 10
"""Seconds to wait for a cluster to answer."""


class ClusterRunner(Runner):
    """Does jobs on a Ray cluster. Files must be where all its machines can reach them.

    Args:
        choice: the model, which every worker opens.
        address: HOST:PORT of the cluster; "auto" is the cluster that this machine belongs to, "local" a new one that
            consists of this machine alone.
        workers: number of workers; None: one per GPU, or without GPUs one per two CPUs.

    Raises:
        FxsrError: the model file can't be read; see `fxsr.runtime.describe.describe`.
    """

    def __init__(self, choice: ModelChoice, address: str, workers: int | None = None) -> None:
        facts = describe(choice.model)
        self.scale: int = facts["scale"]
        self.fixed_t: float | None = facts.get("baked_t")
        self.reports_progress = False
        path = Path(choice.model)
        self._choice = replace(choice, model=str(path.resolve())) if path.exists() else choice
        self._address = address
        self._workers = workers

    def run(self, jobs: Sequence[Job], options: RunOptions, begin: Callable[[Job], Progress]) -> Results:
        """See `Runner.run`. Results come in the order in which jobs end; `begin` is never called.

        Raises:
            DeviceError: there is no cluster at the address.
            MissingExtraError: Ray is not installed.
            FxsrError: the cluster failed for good, or no worker can open the model.
        """
        if not jobs:
            return
        with _cluster(self._address) as ray:
            remove_leftovers(jobs)
            resources = ray.cluster_resources()
            gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
            count = min(len(jobs), self._workers or gpus or max(1, cpus // 2))
            # Ray never starts a worker that asks for more than is free: with more workers than GPUs or CPUs, each asks
            # for a fraction of one
            share: dict[str, Any] = (
                {"num_gpus": 1 / math.ceil(count / gpus)}
                if gpus and self._choice.device != "cpu"
                else {"num_cpus": min(cpus // count, _smallest(ray)) or cpus / count}
            )
            numbers = [{"number": number} for number in range(len(jobs))]
            rows = ray.data.from_items(numbers, override_num_blocks=len(jobs))
            with warnings.catch_warnings():  # the replacement that this warning names does not exist yet
                warnings.filterwarnings("ignore", message="`ray_remote_args_fn` is deprecated")
                ended = rows.map(
                    _Worker,
                    fn_constructor_args=(self._choice, tuple(map(_absolute_job, jobs)), options),
                    # one at a time: a job that only waits in a worker that dies would lose one of its tries as well
                    compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
                    ray_remote_args_fn=lambda: {"max_task_retries": _RETRIES},
                    **share,
                )
            left = dict(enumerate(jobs))
            try:
                for row in ended.iter_rows():
                    job, result = left.pop(row["number"]), row["result"]
                    yield replace(result, file=job.source) if isinstance(result, Failure) else replace(result, job=job)
                for job in left.values():
                    yield Failure(job.source, f"its worker died, {_RETRIES + 1} times")
            except ray.exceptions.RayError as error:
                cause = getattr(error, "cause", None)
                raise (
                    cause if isinstance(cause, FxsrError) else FxsrError(f"Ray failed: {_last_line(error)}")
                ) from error

    def close(self) -> None:
        """Nothing to do: the cluster is left when `run` ends."""


def _absolute_job(job: Job) -> Job:
    """The same job for processes that work in other folders."""
    t_map = job.t_map if isinstance(job.t_map, StyleMap | AutomaticStyle | None) else absolute(job.t_map)
    return replace(job, source=absolute(job.source), target=absolute(job.target), t_map=t_map)


def _smallest(ray: Any) -> int:
    """CPUs of the node with the fewest: a worker must fit on one node."""
    counts = (int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return min((count for count in counts if count), default=1)


class _Worker:
    """One process of the cluster."""

    def __init__(self, choice: ModelChoice, jobs: Sequence[Job], options: RunOptions) -> None:
        self._jobs = jobs
        self._options = options
        self._upscaler = choice.open()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return row | {"result": _do(self._jobs[row["number"]], self._upscaler, self._options)}


def _do(job: Job, upscaler: Upscaler, options: RunOptions) -> Done | Failure:
    """Do one job. Files behind URLs are copied to this machine, and the output to its URL."""
    try:
        if options.skip_existing and exists(job.target):
            return Done(_bare(job))
        with scratch_folder() as folder:
            names: dict[Path, str] = {}

            def copied(place: Place, name: str, *, read: bool = True) -> Path:
                """The place itself, or a file that stands for a URL here."""
                if isinstance(place, Path):
                    return place
                copy = Path(folder, f"{name}{place.suffix}")
                names[copy] = str(place)
                if read:
                    fetch(place, copy)
                return copy

            t_map = job.t_map
            if not isinstance(t_map, StyleMap | AutomaticStyle | None):
                t_map = copied(t_map, "t_map")
            source, target = copied(job.source, "in"), copied(job.target, "out", read=False)
            here = replace(job, source=source, target=target, t_map=t_map)
            with closing(run_jobs([here], upscaler, options, lambda job: lambda done, total: None, 1)) as results:
                (result,) = results
            if isinstance(result, Failure):
                return replace(result, reason=rename_files(result.reason, names))
            if here.target != job.target:
                send(Path(str(here.target)), job.target)
        return replace(result, job=_bare(job))
    except FAILURES as error:
        return job_failure(job, error)


def _bare(job: Job) -> Job:
    """A job without its style map, which need not travel back."""
    return replace(job, t_map=None)


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected to the cluster at `address`, and silent except for errors."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # Ray would send usage statistics
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with needs("ray"):
        import ray
        import ray.data
    _check_reachable(address)
    local: dict[str, Any] = {}
    if address == "local":  # for this run alone: reachable from this machine only, and at normal priority
        os.environ.setdefault("RAY_worker_niceness", "0")
        local = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise DeviceError(
            f"no Ray cluster at {address} ({first_line(error)}); start one, or give --ray local"
        ) from error
    for number, handler in handlers.items():  # Ray has replaced them
        signal.signal(number, handler)
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1  # an image that kills its worker does not end the run
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        yield ray
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Refuse an address where no cluster answers. Ray itself would try for minutes and print a lot.

    Raises:
        UsageError: it is not an address.
        DeviceError: nothing answers there.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"--ray {address}: Ray Data can't be used from outside a cluster; run this on one of its nodes"
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
