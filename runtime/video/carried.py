"""What frames carry besides their pixels: the light that HDR10 describes, which encoders are given, and the rest, of
which a note tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

_UNKEPT: Mapping[str, str] = MappingProxyType(
    {
        "A53_CC": "closed captions",
        "AFD": "the active format",
        "AMBIENT_VIEWING_ENVIRONMENT": "the ambient light",
        "DETECTION_BBOXES": "boxes of detected objects",
        "DOVI_METADATA": "Dolby Vision metadata",
        "DOVI_RPU_BUFFER": "Dolby Vision metadata",
        "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
        "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
        "FILM_GRAIN_PARAMS": "film grain",
        "GOP_TIMECODE": "time codes",
        "ICC_PROFILE": "the ICC profile",
        "PANSCAN": "pan and scan",
        "S12M_TIMECODE": "time codes",
        "SPHERICAL": "the projection of 360-degree video",
        "STEREO3D": "the arrangement of stereoscopic views",
    }
)
"""What viewers may miss, by PyAV's names. Others, such as motion vectors, describe how the source was encoded."""
_CHROMATICITY, _LUMINANCE = 50000, 10000
"""Units per 1 of CIE 1931 x and y, and per cd/m2, in which H.265 (D.3.28) counts."""


@dataclass(frozen=True)
class Light:
    """HDR10's static metadata: the display that a video was mastered on (SMPTE ST 2086), and how bright it becomes."""

    primaries: tuple[tuple[float, float], ...] = ()
    """CIE 1931 x and y of red, green, blue and white; empty if they are not stated."""
    luminance: tuple[float, float] = (0, 0)
    """Smallest and largest of the display, in cd/m2; stated where the primaries are."""
    content: tuple[int, int] | None = None
    """Largest luminance of a pixel and largest mean of a frame, in cd/m2 (CTA-861.3)."""

    @staticmethod
    def of_frame(frame: Any) -> Light | None:
        """What a decoded frame states; None if it states nothing."""
        carried = side_data(frame)
        display = np.frombuffer(carried.get("MASTERING_DISPLAY_METADATA", b""), np.int32)
        content = np.frombuffer(carried.get("CONTENT_LIGHT_LEVEL", b""), np.uint32)
        light = Light(content=(int(content[0]), int(content[1])) if len(content) >= 2 and content.any() else None)
        if len(display) >= 22 and display[20:22].all() and display[1:20:2].all():  # AVMasteringDisplayMetadata
            ratios = (display[:20:2] / display[1:20:2]).tolist()
            points = tuple(zip(ratios[:8:2], ratios[1:8:2], strict=True))
            light = Light(points, (ratios[8], ratios[9]), light.content)
        return light if light != Light() else None

    def setting(self, encoder: str) -> tuple[str, str] | None:
        """Name and value of an encoder's option that states this; None if the encoder has none."""
        if encoder not in _SETTINGS:
            return None
        option, display, content, write = _SETTINGS[encoder]
        values = [f"{display}={write(self)}"] if self.primaries else []
        if self.content:
            values.append(f"{content}={self.content[0]},{self.content[1]}")
        return option, ":".join(values)

    def _in_units(self) -> str:
        return self._listed(
            lambda value: str(round(value * _CHROMATICITY)), lambda value: str(round(value * _LUMINANCE))
        )

    def _in_decimals(self) -> str:
        return self._listed(lambda value: f"{value:.5f}", lambda value: f"{value:.4f}")

    def _listed(self, place: Callable[[float], str], luminance: Callable[[float], str]) -> str:
        red, green, blue, white = (f"({place(x)},{place(y)})" for x, y in self.primaries)
        low, high = map(luminance, self.luminance)
        return f"G{green}B{blue}R{red}WP{white}L({high},{low})"


_X264 = ("x264-params", "mastering-display", "cll", Light._in_units)
_SETTINGS: Mapping[str, tuple[str, str, str, Callable[[Light], str]]] = MappingProxyType(
    {
        "libx264": _X264,
        "libx264rgb": _X264,
        "libx265": ("x265-params", "master-display", "max-cll", Light._in_units),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light", Light._in_decimals),
    }
)
"""Of encoders that can be told: FFmpeg's option, the encoder's own two, and how the first of these is written."""


def side_data(frame: Any) -> dict[str, bytes]:
    """What a decoded frame carries, by PyAV's names. Empty if there is a kind that PyAV has no name for, such as EXIF,
    since it then lists none."""
    try:
        return {each.type.name: bytes(each) for each in frame.side_data}
    except ValueError:
        return {}


def unkept(frame: Any) -> tuple[str, ...]:
    """What is left out of what a frame carries, one line each."""
    found = dict.fromkeys(_UNKEPT[name] for name in side_data(frame) if name in _UNKEPT)
    return tuple(f"{what}, which its frames carry, can't be kept" for what in found)
