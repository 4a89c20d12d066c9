from export.exporter import *
