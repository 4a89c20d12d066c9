from export.photos import *
