from export.engine.engine import *
