"""What files of each format can hold. PyAV answers for most; MPEG transport streams, of which FFmpeg has no list, are
described here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fxsr.errors import VideoError
from fxsr.extras import needs

_TRANSPORT = "mpegts"
"""FFmpeg's name of the format of .ts, .mts and .m2ts files. FFmpeg also writes other codecs to them, as private data
that no player recognises."""
_IN_TRANSPORT = frozenset(
    (
        *("h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"),
        *("aac", "aac_latm", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "s302m", "truehd"),
        *("dvb_subtitle", "dvb_teletext", "hdmv_pgs_subtitle"),
    )
)
"""Codecs that transport streams have a number for (ISO/IEC 13818-1, ETSI EN 300 468, SMPTE 302M)."""
_GLOBAL_HEADER = 0x40
"""FFmpeg's AVFMT_GLOBALHEADER."""


def can_hold(target: Path, codec: Any) -> bool:
    """Whether a file of this suffix can hold what an encoder, PyAV's codec, writes.

    Raises:
        VideoError: files of this suffix are no videos.
        MissingExtraError: PyAV is not installed.
    """
    with needs("video"):
        import av
    try:
        with av.open(str(target), "w") as container:
            if container.format.name == _TRANSPORT:
                return codec.canonical_name in _IN_TRANSPORT
            return bool({codec.name, codec.canonical_name} & container.supported_codecs)
    except (av.error.FFmpegError, ValueError) as error:
        raise VideoError(f"{target}: {target.suffix or 'a file without suffix'} is no format of videos") from error


def header_apart(target: Path) -> bool:
    """Whether files of this kind hold a codec's header apart from its packets."""
    with needs("video"):
        import av
    with av.open(str(target), "w") as container:
        return bool(container.format.flags & _GLOBAL_HEADER)


def add_copied(stream: Any, made: Any) -> Any:
    """A stream of the output, PyAV's container `made`, for packets of one of the source; None if its format can't hold
    them."""
    name = made.format.name
    if stream.type == "data" or (stream.type == "attachment" and name != "matroska"):
        return None  # FFmpeg would find out only when it writes the header
    context = stream.codec_context
    if name == _TRANSPORT and (context is None or context.codec.canonical_name not in _IN_TRANSPORT):
        return None
    try:
        return made.add_stream_from_template(stream)
    except ValueError:
        return None
