from runtime.upscale import *
