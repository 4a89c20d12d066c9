"""Upscaling files: which file goes where, decoding and encoding next to upscaling, forecasts, and clusters."""
