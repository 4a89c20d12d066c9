from runtime.serve.job_routes import *
