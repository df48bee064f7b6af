/* indices.h -- index tensors as checked positions, and what a scatter does with a value. */
#ifndef PAI_INDICES_H
#define PAI_INDICES_H

#include "runtime/kernels/gemm.h"

/* Indices of input `slot` as positions in [0, size), in scratch; the first bad one is an error. */
PAI_MUST_USE pai_status pai_call_positions(pai_call *c, int slot, int64_t size, int64_t **out);

typedef enum pai_reduction {
	PAI_REDUCE_NONE,
	PAI_REDUCE_ADD,
	PAI_REDUCE_MUL,
	PAI_REDUCE_MAX,
	PAI_REDUCE_MIN,
} pai_reduction;

/* Of attribute "reduction". */
PAI_MUST_USE pai_status pai_call_reduction(pai_call *c, pai_reduction *out);
/* n elements of output 0 from `at` on take those of `from` (elements of the output's type). */
void pai_reduce_into(pai_reduction how, pai_tensor *y, int64_t at, const pai_tensor *from,
		     int64_t first, int64_t n);

#endif
