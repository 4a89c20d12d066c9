from export.verify.layer_diff import *
