from runtime.device.session import *
