from runtime.device.lanes import *
