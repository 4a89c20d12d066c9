from runtime.video.joining import *
