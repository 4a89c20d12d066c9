from runtime.layouts import *
