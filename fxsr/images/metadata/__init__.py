"""What image files say besides their pixels: EXIF, XMP, IPTC, texts, resolution, place on earth.

`reading` takes it from a file as one value, `Metadata`; `claims` keeps that value true when pixels are turned or
resampled; `writing` puts it into the files that libvips writes. There is a module for each container (`jpeg`, `png`,
`webp`, `tiff`, `bmp`, `gif`) and for each kind of metadata (`exif`, `xmp`, `photoshop`, `geo`). Bytes are carried over
as they are, apart from what is no longer true: libvips passes only what its EXIF library knows, below 64 KB.
"""
