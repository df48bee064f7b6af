/* reshape.c -- operators that keep the elements and their order: Reshape, Flatten, Squeeze,
 * Unsqueeze; and those that only read the shape: Shape, Size. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/move.h"
#include <limits.h>

/* Output 0 has the elements of input 0 under new dims. */
static pai_status same_elements(pai_call *c, int rank, const int64_t *dims)
{
	const pai_tensor *x = c->in[0];
	PAI_TRY(pai_call_output(c, 0, x->dtype, rank, dims));
	const pai_tensor *y = c->out[0];
	if (pai_tensor_nelem(y) != pai_tensor_nelem(x))
		return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_node(c->node),
				"has %lld elements on one side and %lld on the other",
				(long long)pai_tensor_nelem(x), (long long)pai_tensor_nelem(y));
	pai_copy(y->data, x->data, x->nbytes);
	return PAI_OK;
}

/* One dim may be -1, what is left over; 0 copies the dim of the input unless allowzero says 0. */
static pai_status reshape(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_int_list shape;
	PAI_TRY(pai_call_ints(c, "shape", 1, &shape));
	bool allow_zero = pai_node_int(c->node, "allowzero", 0);
	int free_dim = -1, rank = shape.n < 0 ? 0 : shape.n;
	if (rank > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the new shape has %d dimensions", rank);
	int64_t known = 1;
	for (int i = 0; i < rank; i++) {
		int64_t *d = &shape.at[i];
		if (*d == 0 && !allow_zero && i < x->rank)
			*d = x->dims[i];
		if (*d == -1 && free_dim < 0) {
			free_dim = i;
			continue;
		}
		if (*d < 0 || __builtin_mul_overflow(known, *d, &known))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
					"dimension %d of the new shape is %lld", i, (long long)*d);
	}
	if (free_dim >= 0 && (known == 0 || pai_tensor_nelem(x) % known != 0))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"%lld elements do not fit the other dimensions of the new shape",
				(long long)pai_tensor_nelem(x));
	if (free_dim >= 0)
		shape.at[free_dim] = pai_tensor_nelem(x) / known;
	return same_elements(c, rank, shape.at);
}

const pai_kernel pai_kernel_reshape = {.run = reshape};

/* [product of the dims before axis, product of the others] */
static pai_status flatten(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int64_t given = pai_node_int(c->node, "axis", 1), dims[2] = {1, 1};
	int axis = x->rank;
	if (given != x->rank)
		PAI_TRY(pai_call_axis(c, given, x->rank, &axis));
	for (int i = 0; i < x->rank; i++)
		dims[i >= axis] *= x->dims[i];
	return same_elements(c, 2, dims);
}

const pai_kernel pai_kernel_flatten = {.run = flatten};

static pai_status squeeze(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_int_list axes;
	PAI_TRY(pai_call_ints(c, "axes", 1, &axes));
	bool drop[PAI_MAX_RANK] = {false};
	for (int i = 0; i < x->rank && axes.n < 0; i++)
		drop[i] = x->dims[i] == 1;
	for (int i = 0; i < axes.n; i++) {
		int axis;
		PAI_TRY(pai_call_axis(c, axes.at[i], x->rank, &axis));
		if (x->dims[axis] != 1)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
					"axis %d has size %lld and cannot be dropped", axis,
					(long long)x->dims[axis]);
		drop[axis] = true;
	}
	int64_t dims[PAI_MAX_RANK];
	int rank = 0;
	for (int i = 0; i < x->rank; i++)
		if (!drop[i])
			dims[rank++] = x->dims[i];
	return same_elements(c, rank, dims);
}

const pai_kernel pai_kernel_squeeze = {.run = squeeze};

static pai_status unsqueeze(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	pai_int_list axes;
	PAI_TRY(pai_call_ints(c, "axes", 1, &axes));
	int rank = x->rank + (axes.n > 0 ? axes.n : 0);
	if (rank > PAI_MAX_RANK)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"the result would have %d dimensions", rank);
	bool added[PAI_MAX_RANK] = {false};
	for (int i = 0; i < axes.n; i++) {
		int axis;
		PAI_TRY(pai_call_axis(c, axes.at[i], rank, &axis));
		if (added[axis])
			return pai_fail(c->ctx, PAI_E_bad_axis, pai_at_node(c->node),
					"axis %d is given twice", axis);
		added[axis] = true;
	}
	int64_t dims[PAI_MAX_RANK];
	for (int i = 0, from = 0; i < rank; i++)
		dims[i] = added[i] ? 1 : x->dims[from++];
	return same_elements(c, rank, dims);
}

const pai_kernel pai_kernel_unsqueeze = {.run = unsqueeze};

/* A position that may count from the end, brought into [0, rank]. */
static int clamp_position(int64_t at, int rank)
{
	at += at < 0 ? rank : 0;
	return at < 0 ? 0 : at > rank ? rank : (int)at;
}

static pai_status shape(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	int start = clamp_position(pai_node_int(c->node, "start", 0), x->rank);
	int end = clamp_position(pai_node_int(c->node, "end", INT_MAX), x->rank);
	int64_t n = end > start ? end - start : 0;
	PAI_TRY(pai_call_output(c, 0, PAI_INT64, 1, &n));
	pai_copy(c->out[0]->data, x->dims + start, (size_t)n * sizeof(int64_t));
	return PAI_OK;
}

const pai_kernel pai_kernel_shape = {.run = shape};

static pai_status size(pai_call *c)
{
	PAI_TRY(pai_call_output(c, 0, PAI_INT64, 0, NULL));
	*(int64_t *)c->out[0]->data = pai_tensor_nelem(c->in[0]);
	return PAI_OK;
}

const pai_kernel pai_kernel_size = {.run = size};

/* The elements keep their order: dX is dY with the shape of X. */
static pai_status reshape_back(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	dx[0] = PAI_OP2(p, "Reshape", "grad", dy[0], pai_grad_shape(g, n, n->in[0]));
	pai_patch_set_int(p, dx[0]->producer, "allowzero", 1);
	return PAI_OK;
}

pai_status pai_grad_reshape(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return reshape_back(g, n, dy, dx);
}

pai_status pai_grad_flatten(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return reshape_back(g, n, dy, dx);
}

pai_status pai_grad_squeeze(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return reshape_back(g, n, dy, dx);
}

pai_status pai_grad_unsqueeze(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return reshape_back(g, n, dy, dx);
}
