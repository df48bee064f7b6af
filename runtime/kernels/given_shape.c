/* given_shape.c -- the shape rule of internal operators whose result has sizes of its own:
 * gradients of operators that lose the shape of their input. They take it as an integer input,
 * which autodiff makes with Shape, so that it is a constant wherever the sizes are known. */
#include "runtime/runtime.h"
#include <string.h>

/* Output 0 has the sizes that the input called "shape" holds. */
pai_status pai_shape_given(pai_shape_ctx *s)
{
	int slot = 0;
	while (strcmp(s->node->op->in[slot].name, "shape") != 0)
		slot++;
	const pai_dim *dims;
	int rank = pai_shape_ints(s, slot, &dims);
	if (rank >= 0)
		pai_shape_set(s, 0, rank, dims);
	return PAI_OK;
}
