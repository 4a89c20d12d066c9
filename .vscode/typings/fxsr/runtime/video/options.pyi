from runtime.video.options import *
