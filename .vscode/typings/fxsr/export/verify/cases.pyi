from export.verify.cases import *
