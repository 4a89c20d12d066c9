from runtime.ui.maps import *
