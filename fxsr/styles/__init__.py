"""Style: one t for a whole image or one per pixel (`style_map`), and ways to make style maps (`maps`, `texture`)."""
