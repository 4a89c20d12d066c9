from export.verify.runners import *
