from runtime.upscale.faithful import *
