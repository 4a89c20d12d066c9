"""From an image to its upscaled image: tiles, batches of tiles, blending, transparency, and the `Upscaler`."""
