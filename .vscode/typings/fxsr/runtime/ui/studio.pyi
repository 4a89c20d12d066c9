from runtime.ui.studio import *
