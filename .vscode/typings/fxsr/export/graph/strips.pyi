from export.graph.strips import *
