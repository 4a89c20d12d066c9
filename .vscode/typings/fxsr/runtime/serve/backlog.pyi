from runtime.serve.backlog import *
