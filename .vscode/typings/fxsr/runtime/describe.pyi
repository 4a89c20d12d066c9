from runtime.describe import *
