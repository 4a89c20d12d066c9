from runtime.belt import *
