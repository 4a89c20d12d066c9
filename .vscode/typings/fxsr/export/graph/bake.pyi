from export.graph.bake import *
