from runtime.serve.app import *
