from runtime.ui.detail import *
