from runtime.upscale.upscaler import *
