from runtime.device.arrays import *
