from runtime.video.segments import *
