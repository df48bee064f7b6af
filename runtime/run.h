/* run.h -- one execution, as kernels and executors share it; private to the runtime.
 *
 * Two executors drive kernels: the plan (plan.c) and the evaluation of a single node (eval.c). Each
 * fills in the two hooks; kernels reach them only through the pai_call_* functions. Scratch memory
 * is a stack: an executor marks it before a call and releases it after, so that calls nest (Loop
 * runs its body's kernels inside its own call) and a steady run allocates nothing.
 */
#ifndef PAI_RUN_H
#define PAI_RUN_H

#include "runtime/runtime.h"

typedef struct pai_block pai_block; /* a piece of scratch memory */

struct pai_run {
	pai_ctx *ctx;
	uint64_t step;   /* for random numbers: pai_plan_set_step */
	uint32_t stream; /* mixed into random numbers: which iteration of a loop, call of a body */
	int threads;     /* kernels use at most this many; >= 1 */
	/* Gives output o of the call its shape and memory; called where out[o]->rank is -1. */
	pai_status (*output)(pai_call *c, int o, pai_dtype dtype, int rank, const int64_t *dims);
	/* Serves pai_call_subgraph; NULL: this executor runs no subgraphs. */
	pai_status (*subgraph)(pai_call *c, const pai_graph *g, int n_in,
			       const pai_tensor *const *in, int n_out, pai_tensor *out);
	pai_arena *strings; /* text that kernels made; NULL: none yet */
	void *owner;        /* the executor's own */
	pai_block *block;   /* newest block of scratch; NULL: none yet */
	size_t want;  /* bytes the next block is made for, so that one block serves a steady run */
	bool refused; /* scratch was refused by the budget, not by the allocator */
};

typedef struct pai_mark { /* a height of the scratch stack */
	pai_block *block;
	size_t used;
} pai_mark;

/* A run starts as a zeroed struct with ctx, threads (and hooks) set. */
pai_mark pai_run_mark(const pai_run *r);
void pai_run_release(pai_run *r, pai_mark to);    /* what was taken after the mark is free again */
void *pai_run_scratch(pai_run *r, size_t nbytes); /* NULL: no memory; 64-byte aligned */
/* A copy of text for an element of a string output; lives until pai_run_free, since nothing tells
 * when the last reader of an element is done. */
const char *pai_run_string(pai_run *r, const char *text, size_t n);
void pai_run_free(pai_run *r); /* scratch memory and text, not the struct */

/* runner.c, for callers with steps of their own: the plan for inputs of these shapes, NULL: there
 * is none; making it; the plan used last, NULL: there was none. */
pai_plan *pai_runner_find(pai_runner *r, const pai_tensor *const *inputs);
PAI_MUST_USE pai_status pai_runner_make(pai_runner *r, const pai_tensor *const *inputs,
					pai_plan **out);
const pai_plan *pai_runner_last(const pai_runner *r);

#endif
