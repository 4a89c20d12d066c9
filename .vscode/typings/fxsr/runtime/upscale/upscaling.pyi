from runtime.upscale.upscaling import *
