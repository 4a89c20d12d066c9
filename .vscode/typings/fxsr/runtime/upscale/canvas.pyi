from runtime.upscale.canvas import *
