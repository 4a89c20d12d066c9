from export.verify import *
