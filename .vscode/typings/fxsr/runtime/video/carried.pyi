from runtime.video.carried import *
