"""Encoders: which one writes a video, in which pixel format, and with what settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fxsr.errors import UsageError, VideoError, first_line, foreign_name
from fxsr.extras import needs
from fxsr.runtime.video.carried import Light
from fxsr.runtime.video.colour import RGB_MATRIX, SampleLayout, Signal
from fxsr.runtime.video.containers import can_hold
from fxsr.runtime.video.options import VideoOptions

DEFAULTS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "libx264": {"crf": "16"},
        "libsvtav1": {"crf": "18"},
        "libvpx-vp9": {"crf": "16", "b": "0"},
        "libx264rgb": {"crf": "16"},
        "libx265": {"crf": "16"},
        "ffv1": {},
    }
)
"""Settings of encoders for which the user gives no quality. Without --encoder, the first that PyAV's build and the
output's format have is used: visually lossless, and lossless where there is no other."""
_QUALITY = frozenset({"crf", "qp", "b", "q", "cq", "global_quality", "lossless", "x264-params", "x265-params"})
_BT709 = 1


@dataclass(frozen=True)
class EncoderChoice:
    """An encoder, and what it is given."""

    name: str
    settings: tuple[tuple[str, str], ...]
    pixel_format: str
    signal: Signal
    """What its frames hold; its layout is that of `pixel_format`."""
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.settings)])


@dataclass(frozen=True)
class Picture:
    """Size, rate and pixels' shape of the frames that are written."""

    width: int
    height: int
    rate: Fraction
    aspect: Fraction


def choose_encoder(target: Path, signal: Signal, options: VideoOptions, light: Light | None = None) -> EncoderChoice:
    """The encoder for an output file.

    Args:
        target: its suffix decides the container's format.
        signal: what the source holds, which is kept as far as the encoder can.
        light: what the source states of HDR.

    Raises:
        UsageError: there is no such encoder, or the format can't hold what it writes.
        VideoError: no encoder fits.
        MissingExtraError: PyAV is not installed.
    """
    with needs("video"):
        import av
    if options.encoder is not None:
        codec = _find(options.encoder)
        if codec is None or codec.type != "video":
            raise UsageError(f"there is no video encoder {foreign_name(options.encoder)!r} in PyAV's FFmpeg")
        if not can_hold(target, codec):
            raise UsageError(f"{target.suffix} files can't hold what {codec.name} writes; give an output .mkv")
        name = codec.name
    else:
        found = next((name for name in DEFAULTS if (codec := _find(name)) and can_hold(target, codec)), None)
        if found is None:
            raise VideoError(f"{target}: none of {', '.join(DEFAULTS)} can write {target.suffix}; give --encoder NAME")
        name = found
    formats = [form.name for form in av.codec.Codec(name, "w").video_formats or ()]
    pixel_format, layout, notes = _nearest(formats, signal.layout, name)
    given = dict(options.settings)
    settings = given if _QUALITY & given.keys() else {**DEFAULTS.get(name, {}), **given}
    if light and (stated := light.setting(name)):
        option, value = stated
        settings = {**settings, option: ":".join([value, *filter(None, [settings.get(option)])])}  # the user's wins
    elif light:
        notes += (f"HDR metadata (mastering display, content light) is left out: {name} can't be given it",)
    return EncoderChoice(name, tuple(settings.items()), pixel_format, _matching(signal, layout), notes)


def open_encoder(choice: EncoderChoice, picture: Picture, *, apart: bool) -> Any:
    """PyAV's context of an encoder, opened; the times of its frames are their numbers.

    Raises:
        UsageError: the encoder does not know a setting, or refuses its value or these frames.
    """
    import av

    context = av.CodecContext.create(choice.name, "w")
    context.options = dict(choice.settings)
    if apart:
        context.flags |= int(av.codec.context.Flags.global_header)
    configure(context, choice, picture)
    try:
        context.open()
    except (av.error.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        frames = f"{picture.width}x{picture.height} in {choice.pixel_format}"
        raise UsageError(f"{choice} can't write frames of {frames} ({reason}); give other --encoder-options") from error
    if unknown := list(context.options):
        raise UsageError(f"{choice.name} has no option {foreign_name(unknown[0])!r}")
    return context


def configure(context: Any, choice: EncoderChoice, picture: Picture) -> None:
    """Set what an encoder's context, or PyAV's stream with one, must know before it is opened."""
    signal = choice.signal
    context.width, context.height = picture.width, picture.height
    context.pix_fmt = choice.pixel_format
    context.framerate = picture.rate
    context.time_base = 1 / picture.rate
    if picture.aspect:
        context.sample_aspect_ratio = picture.aspect
    context.colorspace, context.color_range = signal.matrix, signal.range_code
    context.color_primaries, context.color_trc = signal.primaries, signal.transfer


def _find(name: str) -> Any:
    """PyAV's codec of an encoder; None if there is none."""
    import av

    try:
        return av.codec.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return None


def _nearest(formats: list[str], wanted: SampleLayout, encoder: str) -> tuple[str, SampleLayout, tuple[str, ...]]:
    """The pixel format that loses least, and then is smallest; its layout; and what is lost, one line each."""
    layouts = []
    for name in formats:
        try:
            layout = SampleLayout.parse(name)
        except VideoError:
            continue
        if not (name.startswith("yuvj") or "msb" in name):
            layouts.append((name, layout))
    if not layouts:
        raise UsageError(f"{encoder} takes no pixel format that frames can be converted to")

    def cost(each: tuple[str, SampleLayout]) -> tuple[object, ...]:
        name, layout = each
        losses = _losses(wanted, layout)
        return (
            layout.model != wanted.model and layout.model == "grey",
            layout.model != wanted.model,
            wanted.alpha and not layout.alpha,
            -min(layout.bits, wanted.bits),
            max(layout.across - wanted.across, 0) + max(layout.down - wanted.down, 0),
            len(losses),
            layout.alpha,
            layout.bits,
            -layout.across * layout.down,
            name != layout.carrier,
        )

    name, layout = min(layouts, key=cost)
    return name, layout, tuple(f"{loss} ({encoder} writes {name})" for loss in _losses(wanted, layout))


def _losses(wanted: SampleLayout, layout: SampleLayout) -> list[str]:
    losses = []
    if wanted.alpha and not layout.alpha:
        losses.append("transparency is left out")
    if layout.bits < wanted.bits:
        losses.append(f"{wanted.bits} bits become {layout.bits}")
    if wanted.model != "grey" and (layout.across > wanted.across or layout.down > wanted.down):
        losses.append("chroma is reduced")
    return losses


def _matching(signal: Signal, layout: SampleLayout) -> Signal:
    """The source's signal in the layout of the output."""
    if layout.model == "rgb":
        return replace(signal, layout=layout, matrix=RGB_MATRIX, full_range=True)
    if signal.layout.model == "rgb":
        return replace(signal, layout=layout, matrix=_BT709, full_range=False)
    return replace(signal, layout=layout)
