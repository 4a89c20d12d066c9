"""Upscaling videos: frames are streamed through an upscaler, written in segments, and joined with the source's sound
and subtitles. PyAV reads and writes; it is imported where it is used."""
