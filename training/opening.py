"""What a run begins with: its devices, its pictures and its first weights."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from fxsr.errors import UsageError
from fxsr.extras import needs
from fxsr.models.checkpoint import load_start, start_from
from fxsr.training.cache import check_folder, find_images, open_cache
from fxsr.training.crops import Sources
from fxsr.training.ncnn import load_ncnn_rrdb
from fxsr.training.recipe import Recipe
from fxsr.training.samples import inputs_of, open_samples
from fxsr.training.teachers import load_crop_teacher, locate, open_pictures
from fxsr.training.user_terms import check_user_code

with needs("train"):
    import torch
    from accelerate import Accelerator, DistributedDataParallelKwargs
    from accelerate.state import AcceleratorState, PartialState, is_initialized
    from accelerate.utils import InitProcessGroupKwargs, KwargsHandler, set_seed

    from fxsr.models.network import Generator, build_generator
    from fxsr.training.initial import initialise
    from fxsr.training.memory import check_memory


def open_accelerator(recipe: Recipe, device: str) -> Accelerator:
    """The devices and processes that a recipe is trained on.

    Args:
        device: "auto" or "cpu".

    Raises:
        UsageError: the recipe's precision needs a GPU.
    """
    # Accelerate has to be told of a CPU: otherwise each of several processes takes itself for the only one
    cpu = device == "cpu" or not torch.accelerator.is_available()
    if recipe.precision == "fp16" and (cpu or not torch.cuda.is_available()):
        raise UsageError('precision is "fp16", which needs a GPU; bf16 and fp32 run on CPUs too')
    # broadcast_buffers: each process keeps its own batch statistics, which two passes through the discriminator need
    # timeout: the other processes wait while the first one measures
    handlers: list[KwargsHandler] = [
        DistributedDataParallelKwargs(broadcast_buffers=False),
        InitProcessGroupKwargs(timeout=timedelta(hours=2)),
    ]
    if is_initialized() and PartialState().num_processes == 1:  # an earlier run here may have had another precision
        AcceleratorState._reset_state(reset_partial_state=True)
    mixed = "no" if recipe.precision == "fp32" else recipe.precision
    return Accelerator(cpu=cpu, mixed_precision=mixed, kwargs_handlers=handlers)


def open_run(recipe: Recipe, device: str, tell: Callable[[str], None]) -> Accelerator:
    """The devices and processes of a run, after the checks that take no time.

    Args:
        device: "auto" or "cpu".
        tell: receives messages for the user, in the first process only.

    Raises:
        UsageError: a folder of photos is missing, there is nothing to measure on, the processes can't share a batch, a
            user's term fails, or that of `open_accelerator`.
        OutOfMemoryError: the recipe does not fit into the memory.
    """
    for folder in (*recipe.data.hr_folders, *recipe.data.lr_folders):
        check_folder(folder)
    accelerator = open_accelerator(recipe, device)
    if accelerator.is_main_process:  # the one that measures
        for folder in recipe.validation.folders:
            find_images(folder)
    _check_batches(recipe, accelerator.num_processes)
    check_user_code(recipe, tell if accelerator.is_main_process else lambda _: None)
    check_memory(recipe, accelerator.device, accelerator.num_processes)
    return accelerator


def _check_batches(recipe: Recipe, processes: int) -> None:
    """Check that the processes can share the batches of every stage; raises UsageError."""
    for name, stage in recipe.stages.items():
        if stage.batch % processes:
            raise UsageError(
                f"{name}.batch is {stage.batch}; it must be a multiple of the number of processes, {processes}"
            )


def lacks_bfloat16() -> bool:
    """Whether bfloat16 convolutions are emulated slowly: oneDNN supports them on AVX-512 and later only."""
    return torch.backends.cpu.get_cpu_capability() in ("AVX2", "NO AVX")


def cache_folder(recipe: Recipe, out: Path) -> Path:
    """Where the pictures of a run in the folder `out` are kept."""
    return Path(recipe.data.cache) if recipe.data.cache else out / "cache"


def open_sources(
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    tell: Callable[[str], None],
    progress: Callable[[str, int, int], None],
    most: int | None = None,
) -> Sources:
    """Open the training pictures; compute what is missing from the cache, teachers' pictures last.

    Args:
        folder: the cache.
        device: where teachers run.
        tell, progress, most: as for `fxsr.training.samples.open_samples`.

    Raises:
        FxsrError: that of `open_cache`, `open_samples` or `open_pictures`.
    """
    data, scale = recipe.data, recipe.network.scale
    plans = {name: recipe.teachers[name] for name in recipe.targets}
    for name, plan in plans.items():
        locate(plan.source, f"teacher {name}")  # fails before anything takes long
    if not (data.inputs or recipe.targets):
        return Sources(open_cache(folder, data.hr_folders, data.lr_folders, scale, data.patch, tell, most))
    drawn = {name: load_crop_teacher(plan, name, scale, device) for name, plan in plans.items() if not plan.cached}
    cache = open_samples(folder, data, scale, recipe.seed, tell, progress, most)
    untaught = [number for number, kind in enumerate(inputs_of(data)) if not kind.taught]
    teachers = {
        name: open_pictures(cache, plan, name, device, progress, untaught, tell)
        for name, plan in plans.items()
        if plan.cached
    }
    return Sources(cache, teachers, drawn)


def first_generator(recipe: Recipe, init: str) -> Generator:
    """The network with its first weights: random ones, or those of the checkpoint or ncnn network `init`.

    Raises:
        CheckpointError: `init` can't be read, or does not fit.
    """
    config = recipe.network.config()
    set_seed(recipe.seed)
    fresh = initialise(Generator(config), recipe.init_t)
    if not init:
        return fresh
    own = {key: value.numpy() for key, value in fresh.state_dict().items()}
    path = locate(init, "init")
    grow = next(iter(recipe.stages.values())).learns == "all"
    if path.suffix == ".param":
        return build_generator(config, start_from(load_ncnn_rrdb(path), config, own, init, grow))
    return build_generator(config, load_start(path, config, own, grow))
