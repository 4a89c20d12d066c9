from export.verify.precision import *
