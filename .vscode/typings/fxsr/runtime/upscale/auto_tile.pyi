from runtime.upscale.auto_tile import *
