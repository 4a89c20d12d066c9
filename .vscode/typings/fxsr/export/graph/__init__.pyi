from export.graph import *
