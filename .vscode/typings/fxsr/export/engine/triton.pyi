from export.engine.triton import *
