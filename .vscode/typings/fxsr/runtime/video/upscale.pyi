from runtime.video.upscale import *
