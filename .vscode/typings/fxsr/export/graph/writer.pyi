from export.graph.writer import *
