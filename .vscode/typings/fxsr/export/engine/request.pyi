from export.engine.request import *
