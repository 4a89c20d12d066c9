/* All that TensorRT's headers need of CUDA's, so that those need not be installed: two pointers, named as in CUDA. */
#ifndef CUDA_RUNTIME_API_H
#define CUDA_RUNTIME_API_H

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;

#endif
