from export.engine.profiles import *
