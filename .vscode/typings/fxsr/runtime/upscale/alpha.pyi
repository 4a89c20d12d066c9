from runtime.upscale.alpha import *
