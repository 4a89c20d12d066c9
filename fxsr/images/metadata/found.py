"""What a reader of one format collects."""

from __future__ import annotations

from dataclasses import dataclass, field

from fxsr.images.metadata import exif
from fxsr.images.metadata.values import MOST_BYTES, Metadata, Resolution, Text
from fxsr.images.tiff_directory import Entry


@dataclass
class Found:
    """What a file says besides its pixels. The ICC profile is not among it: that comes from whoever decodes."""

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    photoshop: bytes = b""
    texts: list[Text] = field(default_factory=list)
    geo: list[Entry] = field(default_factory=list)
    resolution: Resolution | None = None
    orientation: int = 1
    """How the pixels are to be turned to be upright, 1 to 8 as EXIF counts."""
    notes: list[str] = field(default_factory=list)
    """What could not be taken, one line each."""

    def say(self, note: str) -> None:
        """Add a note, once."""
        if note not in self.notes:
            self.notes.append(note)

    def say_too_much(self) -> None:
        """Add the note that there is more metadata than is taken."""
        self.say(f"metadata beyond {MOST_BYTES >> 20} MB is left out")

    def take_exif(self, blob: bytes) -> None:
        """Take EXIF, with or without a prefix, unless it is damaged."""
        self.exif = exif.plain(blob)
        if blob and not self.exif:
            self.say("the EXIF is left out: it is damaged")

    def metadata(self) -> Metadata:
        """All of it as a value."""
        return Metadata(
            exif=self.exif,
            xmp=self.xmp,
            iptc=self.iptc,
            photoshop=self.photoshop,
            texts=tuple(self.texts),
            geo=tuple(self.geo),
            resolution=self.resolution,
        )
