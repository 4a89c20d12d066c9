from runtime.device.open import *
