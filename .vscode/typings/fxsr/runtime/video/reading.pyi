from runtime.video.reading import *
