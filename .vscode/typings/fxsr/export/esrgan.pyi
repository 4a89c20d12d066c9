from export.esrgan import *
