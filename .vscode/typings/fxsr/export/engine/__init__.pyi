from export.engine import *
