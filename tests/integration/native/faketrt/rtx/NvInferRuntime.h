#define FAKE_TRT_RTX
#include "../NvInferRuntime.h"
