from runtime.embedding import *
