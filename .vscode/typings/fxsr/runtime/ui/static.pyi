from runtime.ui.static import *
