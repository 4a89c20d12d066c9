from runtime.video.colour import *
