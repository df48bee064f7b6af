/* control.h -- what If, Loop and Scan share: keeping tensors that a body hands out. */
#ifndef PAI_CONTROL_H
#define PAI_CONTROL_H

#include "runtime/kernels/move.h"

/* A tensor that the kernel keeps from one run of a body to the next, in scratch that only grows. */
typedef struct pai_kept {
	pai_tensor tensor;
	size_t capacity; /* of tensor.data */
	int64_t dims[PAI_MAX_RANK];
} pai_kept;

PAI_MUST_USE pai_status pai_keep(pai_call *c, pai_kept *k, const pai_tensor *t);
/* Scalars that a body takes. */
PAI_MUST_USE pai_status pai_keep_int(pai_call *c, pai_kept *k, int64_t v);
PAI_MUST_USE pai_status pai_keep_bool(pai_call *c, pai_kept *k, bool v);

/* Tensors of equal type and shape one behind the other, for a result that is stacked. */
typedef struct pai_stack {
	pai_tensor first; /* type and shape of every element; dims point to `dims` */
	int64_t dims[PAI_MAX_RANK];
	int64_t n, room; /* elements there are, and room for */
	uint8_t *data;
} pai_stack;

PAI_MUST_USE pai_status pai_stack_push(pai_call *c, pai_stack *s, const pai_tensor *t);
/* Output o = the elements along a new axis, in the order they came or backwards. An empty stack is
 * shaped by the type the body states, unknown sizes taken as 0. */
PAI_MUST_USE pai_status pai_stack_output(pai_call *c, int o, const pai_stack *s, int64_t axis,
					 bool backwards, const pai_type *stated);

/* Output o = t. */
PAI_MUST_USE pai_status pai_hand_out(pai_call *c, int o, const pai_tensor *t);
/* The subgraph of an attribute, checked to have these numbers of inputs and outputs. */
PAI_MUST_USE pai_status pai_call_body(pai_call *c, const char *attr, int n_in, int n_out,
				      const pai_graph **out);
/* Element 0 of a boolean or integer input. */
PAI_MUST_USE pai_status pai_scalar_input(pai_call *c, int slot, pai_dtype dtype, int64_t *out);

#endif
