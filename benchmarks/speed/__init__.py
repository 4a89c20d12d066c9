"""Timing models: `fxsr bench`. Subjects are opened, measured by turns, and reported as tables, JSON and plots."""
