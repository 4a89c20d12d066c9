"""The structure of image files, without their pixels: whether a file is whole, what a decoder may be given of it, and
what else it holds that is not read.

Decoders differ in what they let pass. So what is missing is found here, by the lengths, checksums and markers of each
format: a file whose pixels are all there is read, with a note, and a file whose pixels are cut is refused.
"""

from fxsr.images.structure.base import Structure
from fxsr.images.structure.structure import examine

__all__ = ["Structure", "examine"]
