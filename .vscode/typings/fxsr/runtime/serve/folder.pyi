from runtime.serve.folder import *
