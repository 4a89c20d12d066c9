from export.verify.compare import *
