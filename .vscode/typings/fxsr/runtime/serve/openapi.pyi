from runtime.serve.openapi import *
