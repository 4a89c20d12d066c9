"""Runs in a Python that has VapourSynth: upscales the frames of an .npz file with core.fxsr.Upscale.

Usage: FRAMES.npz MODEL RESULT.npz EXAMPLE. FRAMES holds `uint8`, `uint16` and `float32`, (n, height, width, 3), and
`map`, (n, height, width) uint8. EXAMPLE is a script that makes `large` of `source`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import vapoursynth as vs

core = vs.core
FORMATS = {"uint8": vs.RGB24, "uint16": vs.RGB48, "float32": vs.RGBS}


def clip_of(frames: Any, form: Any) -> Any:
    """A clip of (n, height, width, planes) arrays."""
    count, height, width, planes = frames.shape
    blank = core.std.BlankClip(format=form, width=width, height=height, length=count)

    def fill(n: int, f: Any) -> Any:
        made = f.copy()
        for plane in range(planes):
            np.asarray(made[plane])[:] = frames[n, ..., plane]
        return made

    return blank.std.ModifyFrame(blank, fill)


def frames_of(clip: Any) -> Any:
    """(n, height, width, planes)."""
    return np.stack([np.stack([np.asarray(plane) for plane in frame], -1) for frame in clip.frames()])


def message(*arguments: Any, **options: Any) -> str:
    """What a call that is refused says."""
    try:
        core.fxsr.Upscale(*arguments, **options)
    except vs.Error as error:
        return str(error)
    return "not refused"


given = np.load(sys.argv[1])
model = sys.argv[2]
results = {}
maps = clip_of(given["map"][..., None], vs.GRAY8)
for name, form in FORMATS.items():
    clip = clip_of(given[name], form)
    results[f"{name} t"] = frames_of(core.fxsr.Upscale(clip, model, t=0.3))
    results[f"{name} map"] = frames_of(core.fxsr.Upscale(clip, model, t_map=maps, tile=24, overlap=8, streams=2))
half = clip_of(given["float32"].astype(np.float16), vs.RGBH)
results["float16 t"] = frames_of(core.fxsr.Upscale(half, model, t=0.3))
grey = clip_of(given["uint8"][..., :1], vs.GRAY8)
results["grey"] = frames_of(core.fxsr.Upscale(grey, model, feather=2, t_map=maps))
clip = clip_of(given["uint8"], vs.RGB24)
results["messages"] = np.array(
    [
        message(core.std.BlankClip(format=vs.YUV420P8), model),
        message(clip, "nothing.onnx"),
        message(clip, model, t=1.5),
        message(clip, model, t=0.5, t_map=maps),
        message(clip, model, t_map=maps.std.Crop(left=2)),
        message(clip, model, device="gpu"),
        message(clip, model, device="cuda", provider="cpu"),
    ]
)
names = {"source": core.std.BlankClip(format=vs.YUV420P8, width=48, height=32, length=2), "model": model}
exec(Path(sys.argv[4]).read_text(), names)
results["example"] = frames_of(names["large"])
np.savez(sys.argv[3], **results)
