from training.wandb_log import *
