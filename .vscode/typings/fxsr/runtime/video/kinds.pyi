from runtime.video.kinds import *
