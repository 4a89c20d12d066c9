#define FAKE_TRT_MAJOR 11
#include "../NvInferRuntime.h"
