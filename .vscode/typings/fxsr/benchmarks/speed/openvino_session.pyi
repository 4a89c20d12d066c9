from benchmarks.speed.openvino_session import *
