from runtime.upscale.batches import *
