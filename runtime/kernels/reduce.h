/* reduce.h -- reductions over any axes, shared by the Reduce operators and the gradients that sum
 * over broadcast dimensions. Private to kernels. */
#ifndef PAI_REDUCE_H
#define PAI_REDUCE_H

#include "runtime/kernels/lanes.h"

/* Accumulators are double, int64_t or uint64_t. `whole` takes n elements into one accumulator,
 * `apart` element i into accumulator i. */
typedef void (*pai_whole_fn)(int64_t n, const void *x, void *acc);
typedef void (*pai_apart_fn)(int64_t n, const void *x, void *acc);

typedef struct pai_reduction_lane {
	pai_whole_fn whole;
	pai_apart_fn apart;
	union {
		double f64;
		int64_t i64;
		uint64_t u64;
	} start; /* of an accumulator */
	void (*finish)(int64_t n, void *acc,
		       int64_t of); /* NULL: none; `of` elements went into each */
} pai_reduction_lane;

typedef struct pai_reduction { /* by lane; F32 is loaded as double, so F64 serves both */
	pai_reduction_lane f64, i64, u64;
} pai_reduction;

/* Reduces x over the dimensions marked in `over` [rank] into out, whose memory has one element for
 * each combination of the others, in their order. */
pai_status pai_reduce(pai_call *c, const pai_reduction *r, const pai_tensor *x, const bool *over,
		      pai_tensor *out);
extern const pai_reduction pai_reduction_sum;

#endif
