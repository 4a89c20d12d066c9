from training.event_log import *
