from runtime.serve.access_log import *
