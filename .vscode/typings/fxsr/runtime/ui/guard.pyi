from runtime.ui.guard import *
