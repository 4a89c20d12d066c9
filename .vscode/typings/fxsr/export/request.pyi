from export.request import *
