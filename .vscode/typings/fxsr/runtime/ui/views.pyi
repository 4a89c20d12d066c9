from runtime.ui.views import *
