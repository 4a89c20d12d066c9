from export.verify.verify import *
