from runtime.ui import *
