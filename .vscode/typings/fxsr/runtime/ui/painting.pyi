from runtime.ui.painting import *
