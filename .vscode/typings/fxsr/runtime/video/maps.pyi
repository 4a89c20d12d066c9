from runtime.video.maps import *
