from export.graph.rewrites import *
