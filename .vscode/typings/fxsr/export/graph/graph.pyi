from export.graph.graph import *
