"""Reads and writes images row by row, in the formats that `formats` lists.

An image is a `Rows` (an iterator over bands of rows) or, where it is needed whole, a `Picture`.
"""
