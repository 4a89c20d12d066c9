from export.engine.builder import *
