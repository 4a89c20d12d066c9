from runtime.ui.page import *
