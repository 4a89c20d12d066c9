from runtime.device.protocols import *
