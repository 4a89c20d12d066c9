"""Between a decoder's or encoder's planes and RGB pixels, exactly as the stream states it.

Y'CbCr becomes RGB in float32 by the stream's own matrix and range (ITU-T H.273, section 8.3 and table 4) and goes back
the same way, so that nothing is rounded between decoding and encoding. FFmpeg's swscale is only used to take
interleaved samples apart: its own conversion is off by up to one level of 8 bits.

Chroma samples of halved width lie on every second luma sample, and those of halved height between two luma rows: where
MPEG-2, H.264 and HEVC put them unless a stream says otherwise. They are interpolated linearly, and made with the filter
(1, 2, 1) / 4 across and the mean of two rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fxsr.errors import VideoError
from fxsr.extras import needs

Plane = NDArray[Any]

RGB_MATRIX, UNSPECIFIED = 0, 2
"""Code points of H.273."""
_BT709, _BT601_625, _BT601_525 = 1, 5, 6
_LUMA: dict[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}
"""Weights of red and blue in luma, by matrix (H.273, table 4)."""
_SUBSAMPLING = {(1, 1): "444", (2, 1): "422", (2, 2): "420", (1, 2): "440", (4, 1): "411", (4, 4): "410"}
_FULL = 2
"""FFmpeg's number for full range."""


@dataclass(frozen=True)
class SampleLayout:
    """What the samples of a pixel format mean, however they are interleaved."""

    model: Literal["rgb", "yuv", "grey"]
    bits: int
    alpha: bool = False
    across: int = 1
    """Luma samples to a chroma sample in a row."""
    down: int = 1

    @staticmethod
    def parse(name: str) -> SampleLayout:
        """The layout of one of FFmpeg's pixel formats.

        Raises:
            VideoError: samples of this format can't be converted.
        """
        with needs("video"):
            from av import VideoFormat
        try:
            form = VideoFormat(name, 16, 16)
        except ValueError as error:
            raise VideoError(f"{name} is not a pixel format that FFmpeg knows") from error
        parts = form.components
        bits = max((part.bits for part in parts), default=0)
        if form.is_bayer or not 0 < bits <= 16 or "f16" in name or name.startswith("xyz"):
            raise VideoError(f"pixels in the format {name} can't be converted")
        bits = max(bits, 8)
        alpha = any(part.is_alpha for part in parts)
        if form.is_rgb or form.has_palette:
            layout = SampleLayout("rgb", bits, alpha)
        elif len(parts) < 3:
            layout = SampleLayout("grey", bits)
        else:
            across, down = 16 // form.chroma_width(16), 16 // form.chroma_height(16)
            layout = SampleLayout("yuv", bits, alpha, across, down)
        return layout if layout._exists() else SampleLayout(layout.model, 16, layout.alpha, layout.across, layout.down)

    @property
    def carrier(self) -> str:
        """The pixel format that holds these samples in planes of their own."""
        depth = "" if self.bits == 8 else f"{self.bits}le"
        if self.model == "grey":
            return f"gray{depth}"
        if self.model == "rgb":
            return f"gbr{'a' if self.alpha else ''}p{depth}"
        return f"yuv{'a' if self.alpha else ''}{_SUBSAMPLING.get((self.across, self.down), '?')}p{depth}"

    def _exists(self) -> bool:
        from av import VideoFormat

        try:
            VideoFormat(self.carrier)
        except ValueError:
            return False
        return True

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored sample."""
        return np.dtype(np.uint8 if self.bits == 8 else "<u2")


@dataclass(frozen=True)
class Signal:
    """How samples stand for colours."""

    layout: SampleLayout
    matrix: int = RGB_MATRIX
    """H.273 MatrixCoefficients."""
    full_range: bool = True
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @staticmethod
    def of_frame(frame: Any) -> Signal:
        """What a decoded frame states. What it leaves open is what players assume, by its size.

        Raises:
            VideoError: its matrix or its pixel format can't be converted.
        """
        layout = SampleLayout.parse(frame.format.name)
        matrix, primaries = int(frame.colorspace), int(frame.color_primaries)
        full = int(frame.color_range) == _FULL or frame.format.name.startswith("yuvj")
        if layout.model == "rgb":
            return Signal(layout, RGB_MATRIX, True, primaries, int(frame.color_trc))
        large = frame.width >= 1280 or frame.height > 576
        usual = _BT709 if large else _BT601_625 if frame.height in (576, 288) else _BT601_525
        if primaries == UNSPECIFIED and matrix in (UNSPECIFIED, usual):
            primaries = usual
        if layout.model == "grey":
            full = full or not int(frame.color_range)  # as FFmpeg takes it
        if matrix in (UNSPECIFIED, 3) or (matrix == RGB_MATRIX and layout.model == "grey"):
            matrix = usual
        if matrix not in _LUMA:
            raise VideoError(f"its colour matrix is {matrix} of ITU-T H.273, which can't be converted")
        return Signal(layout, matrix, full, primaries, int(frame.color_trc))

    def pixels(self, frame: Any) -> NDArray[Any]:
        """A decoded frame as (H, W, C): grey or RGB, with alpha if it has any. uint8 for RGB of 8 bits, else float32,
        in which 0..1 is black to full intensity."""
        planes = self._planes(frame)
        layout = self.layout
        if layout.model == "rgb":
            planes = [planes[2], planes[0], planes[1], *planes[3:]]
            stacked = np.stack(planes, -1)
            return stacked if layout.bits == 8 else (stacked / np.float32(2**layout.bits - 1)).astype(np.float32)
        low, luma_span, chroma_span = self._spans()
        luma = (planes[0].astype(np.float32) - np.float32(low)) / np.float32(luma_span)
        if layout.model == "grey":
            return luma[..., None]
        height, width = luma.shape
        cb, cr = (
            (_grow(plane, height, width, layout) - np.float32(2 ** (layout.bits - 1))) / np.float32(chroma_span)
            for plane in planes[1:3]
        )
        red, blue = _LUMA[self.matrix]
        out = np.empty((height, width, 3 + layout.alpha), np.float32)
        out[..., 0] = luma + np.float32(2 * (1 - red)) * cr
        out[..., 2] = luma + np.float32(2 * (1 - blue)) * cb
        out[..., 1] = (luma - np.float32(red) * out[..., 0] - np.float32(blue) * out[..., 2]) / np.float32(
            1 - red - blue
        )
        if layout.alpha:
            out[..., 3] = planes[3] / np.float32(2**layout.bits - 1)
        return out

    def frame(self, pixels: NDArray[Any], name: str) -> Any:
        """A frame in the pixel format `name`, whose layout is this signal's, from (H, W, C) pixels as `pixels` makes
        them; alpha that the layout lacks is left out."""
        import av

        layout = self.layout
        height, width = pixels.shape[:2]
        colours = pixels[..., : pixels.shape[2] - (1 - pixels.shape[2] % 2)]
        peak = 2**layout.bits - 1
        if layout.model == "rgb":
            rgb = np.broadcast_to(colours, (height, width, 3))
            planes = [_quantised(rgb[..., index], peak, layout) for index in (1, 2, 0)]
        else:
            planes = self._signal_planes(_as_floats(colours))
        if layout.alpha:
            alpha = pixels[..., -1] if pixels.shape[2] == 4 else np.ones((height, width), np.float32)
            planes.append(_quantised(alpha, peak, layout))
        frame = av.VideoFrame(width, height, layout.carrier)
        for target, values in zip(frame.planes, planes, strict=True):
            padded = np.zeros((target.height, target.line_size // values.itemsize), values.dtype)
            padded[:, : target.width] = values
            target.update(padded.tobytes())
        self._state(frame)
        if name not in (layout.carrier, _full_name(layout)):
            frame = _repacked(frame, name)
        self._state(frame)
        return frame

    def _state(self, frame: Any) -> None:
        frame.colorspace, frame.color_range = self.matrix, self.range_code
        frame.color_primaries, frame.color_trc = self.primaries, self.transfer

    @property
    def range_code(self) -> int:
        """FFmpeg's number for the range."""
        return _FULL if self.full_range else 1

    def _spans(self) -> tuple[float, float, float]:
        """Black, the span of luma and that of chroma, in stored values."""
        step = 2.0 ** (self.layout.bits - 8)
        peak = 2.0**self.layout.bits - 1
        return (0, peak, peak) if self.full_range else (16 * step, 219 * step, 224 * step)

    def _planes(self, frame: Any) -> list[Plane]:
        layout = self.layout
        if frame.format.name not in (layout.carrier, _full_name(layout)):
            frame = _repacked(frame, layout.carrier)
        return [
            np.frombuffer(plane, layout.dtype).reshape(plane.height, -1)[:, : plane.width] for plane in frame.planes
        ]

    def _signal_planes(self, colours: NDArray[np.float32]) -> list[Plane]:
        layout = self.layout
        low, luma_span, chroma_span = self._spans()
        red, blue = (np.float32(weight) for weight in _LUMA[self.matrix])
        if colours.shape[2] == 1:
            luma = colours[..., 0]
            cb = cr = np.zeros_like(luma)
        else:
            r, g, b = (colours[..., index] for index in range(3))
            luma = red * r + (1 - red - blue) * g + blue * b
            cb, cr = (b - luma) / (2 * (1 - blue)), (r - luma) / (2 * (1 - red))
        planes = [_rounded(luma * np.float32(luma_span) + np.float32(low), layout)]
        if layout.model == "yuv":
            middle = np.float32(2 ** (layout.bits - 1))
            planes += [
                _rounded(_shrink(plane, layout) * np.float32(chroma_span) + middle, layout) for plane in (cb, cr)
            ]
        return planes


def _full_name(layout: SampleLayout) -> str:
    """FFmpeg's second name for a layout of 8 bits in full range."""
    return layout.carrier.replace("yuv", "yuvj") if layout.model == "yuv" and layout.bits == 8 else ""


def _repacked(frame: Any, name: str) -> Any:
    """The same samples in another arrangement."""
    code = int(frame.color_range) or 1
    return frame.reformat(format=name, src_color_range=code, dst_color_range=code, threads=1)


def _as_floats(colours: NDArray[Any]) -> NDArray[np.float32]:
    if colours.dtype.kind == "f":
        return colours.astype(np.float32, copy=False)
    return colours.astype(np.float32) / np.float32(np.iinfo(colours.dtype).max)


def _quantised(values: NDArray[Any], peak: int, layout: SampleLayout) -> Plane:
    """Values of 0..1, or integers of full range, as stored samples."""
    if values.dtype == layout.dtype and np.iinfo(values.dtype).max == peak:
        return values
    return _rounded(_as_floats(values) * np.float32(peak), layout)


def _rounded(values: NDArray[np.float32], layout: SampleLayout) -> Plane:
    rounded: Plane = (values + np.float32(0.5)).clip(0, 2**layout.bits - 1).astype(layout.dtype)
    return rounded


def _grow(plane: Plane, height: int, width: int, layout: SampleLayout) -> NDArray[np.float32]:
    """A chroma plane in the size of luma."""
    values = plane.astype(np.float32)
    if layout.across > 1:
        values = _interpolated(values, np.arange(width) / layout.across, 1)
    if layout.down > 1:
        values = _interpolated(values, (np.arange(height) - (layout.down - 1) / 2) / layout.down, 0)
    return values


def _interpolated(values: NDArray[np.float32], places: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    before = np.floor(places).astype(int)
    shape = (-1, 1) if axis == 0 else (1, -1)
    share = (places - before).astype(np.float32).reshape(shape)
    last = values.shape[axis] - 1
    first = values.take(before.clip(0, last), axis)
    second = values.take((before + 1).clip(0, last), axis)
    between: NDArray[np.float32] = first + (second - first) * share
    return between


def _shrink(plane: NDArray[np.float32], layout: SampleLayout) -> NDArray[np.float32]:
    """Chroma in the size of luma, reduced to where the chroma samples lie."""
    across, down = layout.across, layout.down
    if down > 1:
        missing = -len(plane) % down
        padded = np.pad(plane, ((0, missing), (0, 0)), "edge")
        plane = padded.reshape(-1, down, padded.shape[1]).mean(1, dtype=np.float32)
    if across > 1:
        width = -(-plane.shape[1] // across)
        padded = np.pad(plane, ((0, 0), (across - 1, 2 * across)), "edge")
        total = np.zeros((len(plane), width), np.float32)
        for tap in range(2 * across - 1):
            weight = np.float32((across - abs(tap - across + 1)) / across**2)
            total += weight * padded[:, tap : tap + across * (width - 1) + 1 : across]
        plane = total
    return plane
