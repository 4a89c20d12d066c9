from runtime.ui.gradio_settings import *
