"""Responses that send image files from temporary folders."""

from __future__ import annotations

from collections.abc import Mapping
from tempfile import TemporaryDirectory

from fxsr.extras import needs
from fxsr.runtime.serve.exchange import Message, Receive, Send
from fxsr.runtime.serve.images import UpscaledFile

with needs("serve"):
    from fastapi import Response
    from fastapi.responses import FileResponse

_SMALL = 1 << 20
"""Files up to this size, in bytes, are sent from memory."""


def file_response(folder: TemporaryDirectory[str], upscaled: UpscaledFile) -> Response:
    """A response that sends an image file. Its folder is removed when it was sent, or could not be."""
    headers = {"Content-Disposition": f'attachment; filename="{upscaled.file.name}"'}
    if upscaled.notes:
        headers["Fxsr-Notes"] = "; ".join(upscaled.notes).encode("ascii", "replace").decode()
    if upscaled.file.stat().st_size > _SMALL:
        return _TemporaryFileResponse(folder, upscaled, headers)
    with folder:
        return Response(upscaled.file.read_bytes(), headers=headers, media_type=upscaled.media_type)


class _TemporaryFileResponse(FileResponse):
    def __init__(self, folder: TemporaryDirectory[str], upscaled: UpscaledFile, headers: Mapping[str, str]) -> None:
        super().__init__(upscaled.file, media_type=upscaled.media_type, headers=dict(headers))
        self._folder = folder

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._folder.cleanup()
