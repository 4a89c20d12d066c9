"""Upscaling one image with a session: tiles, batches of tiles, blending, transparency, and the `Upscaler`."""
