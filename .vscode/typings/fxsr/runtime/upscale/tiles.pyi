from runtime.upscale.tiles import *
