from runtime.serve.model_routes import *
