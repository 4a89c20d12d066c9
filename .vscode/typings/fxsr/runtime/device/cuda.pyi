from runtime.device.cuda import *
