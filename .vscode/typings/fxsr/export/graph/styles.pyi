from export.graph.styles import *
