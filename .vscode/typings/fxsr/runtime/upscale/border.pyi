from runtime.upscale.border import *
