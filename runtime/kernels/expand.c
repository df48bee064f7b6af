/* expand.c -- Expand: a copy whose source does not move along the dims it repeats. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"

static pai_status expand(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_int_list shape;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	pai_box b = {.rank = shape.n > x->rank ? shape.n : x->rank};
	if (b.rank > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
				"has %d elements, a shape has at most %d", shape.n, PAI_MAX_RANK);
	int64_t strides[PAI_MAX_RANK];
	pai_strides(x->rank, x->dims, strides);
	for (int i = 0; i < b.rank; i++) {
		int in_x = i - b.rank + x->rank, in_shape = i - b.rank + shape.n;
		int64_t dx = in_x >= 0 ? x->dims[in_x] : 1;
		int64_t ds = in_shape >= 0 ? shape.at[in_shape] : 1;
		if (ds < 0 || (dx != 1 && ds != 1 && dx != ds))
			return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
					"asks for size %lld where the input has %lld",
					(long long)ds, (long long)dx);
		b.dims[i] = dx == 1 ? ds : dx;
		b.from[i] = dx == 1 ? 0 : strides[in_x];
	}
	PAI_TRY(pai_call_output(c, 0, x->dtype, b.rank, b.dims));
	pai_strides(b.rank, b.dims, b.to);
	return pai_box_call(c, &b, 0);
}

const pai_kernel pai_kernel_expand = {.run = expand};

/* dX = dY summed over what was repeated */
pai_status pai_grad_expand(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	dx[0] = pai_grad_sum_to(g, n, dy[0], n->out[0], n->in[0]);
	return PAI_OK;
}
