from export.reuse import *
