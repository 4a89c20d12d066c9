"""Titles of the groups into which `--help` sorts options, the same in all commands."""

INPUT_OUTPUT = "Input and output"
STYLE = "Style"
TILES = "Tiles"
VIDEO = "Video"
HARDWARE = "Hardware"
SCRIPTING = "Scripting"
