/* tile.c -- Tile: every place of the output takes the input at its index modulo the size. */
#include "runtime/kernels/gemm.h"
#include "runtime/kernels/grad.h"

/* Repeats of all axes; Tile 1 gives those of one axis only. */
static pai_status repeats(pai_call *c, int64_t *out)
{
	const pai_tensor *x = c->in[0], *t = c->in[1];
	int rank = x->rank, axis = 0;
	bool single = c->node->op->since == 1;
	if (pai_tensor_nelem(t) != (single ? 1 : rank))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
				"has %lld elements for a tensor of rank %d",
				(long long)pai_tensor_nelem(t), rank);
	for (int i = 0; i < rank; i++)
		out[i] = 1;
	if (single && pai_tensor_nelem(c->in[2]) != 1)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 2),
				"is not one axis");
	if (single)
		PAI_TRY(pai_call_axis(c, pai_tensor_get_int(c->in[2], 0), rank, &axis));
	for (int i = 0; i < (single ? 1 : rank); i++) {
		out[axis + i] = pai_tensor_get_int(t, i);
		if (out[axis + i] < 0)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
					"element %d is %lld", i, (long long)out[axis + i]);
	}
	return PAI_OK;
}

/* As a box of twice the rank: [repeat, size, repeat, size, ...], repeats standing still in the
 * input. */
static pai_status tile_box(pai_call *c, pai_box *b, int64_t *dims)
{
	const pai_tensor *x = c->in[0];
	int64_t times[PAI_MAX_RANK], in[PAI_MAX_RANK], out[PAI_MAX_RANK];
	if (x->rank > PAI_MAX_RANK / 2)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0), "has rank %d",
				x->rank);
	PAI_TRY(repeats(c, times));
	for (int i = 0; i < x->rank; i++)
		if (__builtin_mul_overflow(times[i], x->dims[i], &dims[i]))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
					"element %d is too large", i);
	PAI_TRY(pai_call_output(c, 0, x->dtype, x->rank, dims));
	pai_strides(x->rank, x->dims, in);
	pai_strides(x->rank, dims, out);
	b->rank = 2 * x->rank;
	for (int i = 0; i < x->rank; i++) {
		b->dims[2 * i] = times[i];
		b->to[2 * i] = out[i] * x->dims[i];
		b->from[2 * i] = 0;
		b->dims[2 * i + 1] = x->dims[i];
		b->to[2 * i + 1] = out[i];
		b->from[2 * i + 1] = in[i];
	}
	return PAI_OK;
}

static pai_status tile(pai_call *c)
{
	pai_box b = {.rank = 0};
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(tile_box(c, &b, dims));
	return pai_box_call(c, &b, 0);
}

const pai_kernel pai_kernel_tile = {.run = tile};

/* dX = dY summed over the repeats: dY as [repeat, size, repeat, size, ...] summed over every other
 * axis. The shapes must be known. */
pai_status pai_grad_tile(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	const pai_type *x = &n->in[0]->type, *y = &n->out[0]->type;
	int64_t shape[PAI_MAX_RANK], axes[PAI_MAX_RANK];
	bool known = x->rank >= 0 && 2 * x->rank <= PAI_MAX_RANK && y->rank == x->rank;
	for (int i = 0; known && i < x->rank; i++) {
		known = x->dims[i] > 0 && y->dims[i] >= 0;
		shape[2 * i] = known ? y->dims[i] / x->dims[i] : 0;
		shape[2 * i + 1] = x->dims[i];
		axes[i] = 2 * i;
	}
	if (!known)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_node(n),
				"the sizes it repeats are not known");
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP2(p, "Reshape", "repeats", dy[0], pai_grad_ints(g, n, 2 * x->rank, shape));
	pai_patch_set_int(p, dx[0]->producer, "allowzero", 1);
	if (x->rank == 0)
		return PAI_OK;
	dx[0] = PAI_OP2(p, "ReduceSum", "grad", dx[0], pai_grad_ints(g, n, x->rank, axes));
	pai_patch_set_int(p, dx[0]->producer, "keepdims", 0);
	return PAI_OK;
}
