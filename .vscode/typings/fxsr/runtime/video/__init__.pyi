from runtime.video import *
