/* one_hot.c -- OneHot and Range. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include <math.h>
#include <string.h>

/* The on value where the new axis has the index, the off value elsewhere; indices in [-depth,
 * depth), others are off everywhere. */
static pai_status one_hot(pai_call *c)
{
	const pai_tensor *indices = c->in[0], *depths = c->in[1], *values = c->in[2];
	int axis, rank = indices->rank + 1;
	int64_t dims[PAI_MAX_RANK + 1];
	if (rank > PAI_MAX_RANK || pai_tensor_nelem(depths) != 1 || pai_tensor_nelem(values) != 2)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"needs one depth and two values");
	int64_t depth = pai_tensor_get_int(depths, 0), inner = 1;
	if (depth < 0)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1), "is %lld",
				(long long)depth);
	PAI_TRY(pai_call_axis(c, pai_node_int(c->node, "axis", -1), rank, &axis));
	for (int i = 0; i < rank; i++)
		dims[i] = i == axis ? depth : indices->dims[i < axis ? i : i - 1];
	for (int i = axis + 1; i < rank; i++)
		inner *= dims[i];
	PAI_TRY(pai_call_output(c, 0, values->dtype, rank, dims));
	pai_flat off, to;
	PAI_TRY(pai_flat_in(c, 2, &off));
	PAI_TRY(pai_flat_out(c, 0, &to));
	const uint8_t *on = off.at + off.size;
	pai_fill(to.at, pai_tensor_nelem(c->out[0]), off.at, off.size);
	for (int64_t i = 0, n = depth ? pai_tensor_nelem(indices) : 0; i < n; i++) {
		int64_t v = pai_tensor_get_int(indices, i);
		v += v < 0 ? depth : 0;
		if (v < 0 || v >= depth)
			continue;
		int64_t at = (i / inner * depth + v) * inner + i % inner;
		memcpy(to.at + (size_t)at * to.size, on, to.size);
	}
	pai_flat_done(c, 0, &to);
	return PAI_OK;
}

const pai_kernel pai_kernel_one_hot = {.run = one_hot};

/* d on = sum of dY where the output is hot, d off = the rest of the sum */
pai_status pai_grad_one_hot(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_arena *a = n->graph->model->arena;
	int64_t two = 2;
	pai_tensor *t = pai_tensor_new(a, n->out[0]->type.dtype, 1, &two);
	if (!t)
		return pai_fail(n->graph->model->ctx, PAI_E_memory, pai_at_node(n),
				"for its gradient");
	pai_tensor_set(t, 0, 0);
	pai_tensor_set(t, 1, 1);
	pai_value *hot =
		PAI_OP3(p, "OneHot", "hot", n->in[0], n->in[1], pai_patch_init(p, "off_on", t));
	pai_patch_set_int(p, hot->producer, "axis", pai_node_int(n, "axis", -1));
	pai_value *one = pai_grad_ints(g, n, 1, (int64_t[]){1});
	pai_value *on = PAI_OP1(p, "ReduceSum", "on", PAI_OP2(p, "Mul", "on", dy[0], hot));
	pai_value *off = PAI_OP2(p, "Sub", "off", PAI_OP1(p, "ReduceSum", "all", dy[0]), on);
	dx[2] = PAI_OP2(p, "Concat", "grad", PAI_OP2(p, "Reshape", "off", off, one),
			PAI_OP2(p, "Reshape", "on", on, one));
	pai_patch_set_int(p, dx[2]->producer, "axis", 0);
	return PAI_OK;
}

/* start, start + delta, ... before limit */
static pai_status range(pai_call *c)
{
	for (int i = 0; i < 3; i++)
		if (pai_tensor_nelem(c->in[i]) != 1 || c->in[i]->dtype != c->in[0]->dtype)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, i),
					"is not one number of the type of the others");
	pai_dtype dtype = c->in[0]->dtype;
	bool real = pai_dtype_get(dtype)->kind == PAI_KIND_FLOAT;
	double start = pai_tensor_get(c->in[0], 0), limit = pai_tensor_get(c->in[1], 0);
	double delta = pai_tensor_get(c->in[2], 0), count = ceil((limit - start) / delta);
	if (delta == 0 || !(count < 9e15))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"has no last element");
	int64_t n = count > 0 ? (int64_t)count : 0;
	PAI_TRY(pai_call_output(c, 0, dtype, 1, &n));
	int64_t first = pai_tensor_get_int(c->in[0], 0), step = pai_tensor_get_int(c->in[2], 0);
	for (int64_t i = 0; i < n; i++) {
		if (dtype == PAI_INT64)
			((int64_t *)c->out[0]->data)[i] =
				(int64_t)((uint64_t)first + (uint64_t)i * (uint64_t)step);
		else
			pai_tensor_set(c->out[0], i,
				       real ? start + (double)i * delta
					    : (double)first + (double)i * (double)step);
	}
	return PAI_OK;
}

const pai_kernel pai_kernel_range = {.run = range};
