from runtime.video.containers import *
