"""The command line: one module for each command, their shared options, and everything that is printed."""
