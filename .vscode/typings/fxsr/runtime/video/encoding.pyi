from runtime.video.encoding import *
