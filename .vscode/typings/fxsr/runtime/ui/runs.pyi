from runtime.ui.runs import *
