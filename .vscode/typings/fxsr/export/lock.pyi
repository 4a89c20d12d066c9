from export.lock import *
