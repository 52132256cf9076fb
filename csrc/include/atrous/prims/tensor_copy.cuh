// The copy engine of sm_90 (TMA): boxes of tensors between global and shared memory, issued by one thread.
#pragma once

#include "atrous/prims/tensor_copy_groups.cuh"
#include "atrous/prims/tensor_copy_im2col.cuh"
#include "atrous/prims/tensor_copy_load.cuh"
#include "atrous/prims/tensor_copy_store.cuh"
