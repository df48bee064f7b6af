/* reduce_grad.c -- derivatives of the Reduce operators, and SumTo, the adjoint of broadcasting.
 *
 * Every rule spreads dy back over the reduced axes: with keepdims it broadcasts as it is, without
 * it the axes are inserted first. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/reduce.h"

/* SumTo(X, shape): the sum over the dimensions along which `shape`, right-aligned but for `skip`
 * dimensions, has 1 or nothing. */
static pai_status sum_to(pai_call *c)
{
	const pai_tensor *x = c->in[0], *shape = c->in[1];
	int64_t dims[PAI_MAX_RANK], n = pai_tensor_nelem(shape);
	int64_t skip = pai_node_int(c->node, "skip", 0), first = x->rank - skip - n;
	bool over[PAI_MAX_RANK];
	if (first < 0 || n > PAI_MAX_RANK || pai_lane_of(x->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 1),
				"is no shape that broadcasts to that of the tensor");
	for (int64_t d = 0; d < x->rank; d++) {
		int64_t size =
			d >= first && d < first + n ? pai_tensor_get_int(shape, d - first) : 1;
		if (size != 1 && size != x->dims[d])
			return pai_fail(c->ctx, PAI_E_runtime_shape, pai_at_input(c->node, 1),
					"%lld elements do not broadcast to %lld", (long long)size,
					(long long)x->dims[d]);
		over[d] = size == 1 && x->dims[d] != 1;
	}
	for (int64_t d = 0; d < n; d++)
		dims[d] = pai_tensor_get_int(shape, d);
	PAI_TRY(pai_call_output(c, 0, x->dtype, (int)n, dims));
	return pai_reduce(c, &pai_reduction_sum, x, over, c->out[0]);
}
const pai_kernel pai_kernel_sum_to = {.run = sum_to};

/* What a Reduce node reduces, as an operand of today's operators. */
typedef struct axes {
	pai_value *axes; /* NULL: all */
	bool none, keep; /* none: the node does nothing */
} axes;

static axes axes_of(pai_grad *g, const pai_node *n)
{
	axes a = {.axes = pai_node_in(n, 1), .keep = pai_node_int(n, "keepdims", 1) != 0};
	const pai_tensor *known = a.axes ? pai_value_constant(a.axes) : NULL;
	const int64_t *list;
	int count = pai_op_attr_find(n->op, "axes") ? pai_node_ints(n, "axes", &list) : 0;
	if (count > 0)
		a.axes = pai_grad_ints(g, n, count, list);
	else if (known && pai_tensor_nelem(known) == 0)
		a.axes = NULL;
	a.none = !a.axes && pai_node_int(n, "noop_with_empty_axes", 0) != 0;
	return a;
}

/* v, of the shape of the result, made to broadcast over the input. */
static pai_value *spread(pai_grad *g, axes a, pai_value *v)
{
	if (a.keep || a.none || !a.axes)
		return v;
	return PAI_OP2(pai_grad_patch(g), "Unsqueeze", "spread", v, a.axes);
}

static pai_value *expand(pai_grad *g, const pai_node *n, axes a, pai_value *v)
{
	return PAI_OP2(pai_grad_patch(g), "Expand", "grad", spread(g, a, v),
		       pai_grad_shape(g, n, n->in[0]));
}

/* The same reduction of another tensor of the input's shape by another operator. */
static pai_value *reduce_as(pai_grad *g, const pai_node *n, axes a, const char *op, pai_value *v)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *r = pai_patch_op(p, op, "reduced", a.axes ? 2 : 1, (pai_value *[]){v, a.axes});
	pai_patch_set_int(p, r->producer, "keepdims", pai_node_int(n, "keepdims", 1));
	return r;
}

/* d sum(x) = 1 */
pai_status pai_grad_reduce_sum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	axes a = axes_of(g, n);
	dx[0] = a.none ? dy[0] : expand(g, n, a, dy[0]);
	return PAI_OK;
}

/* 1 / elements of a mean, as an operand. */
static pai_value *share(pai_grad *g, const pai_node *n)
{
	pai_patch *p = pai_grad_patch(g);
	const pai_type *x = &n->in[0]->type, *y = &n->out[0]->type;
	double count = 1;
	bool known = x->rank >= 0 && y->rank >= 0;
	for (int d = 0; d < x->rank; d++)
		known = known && x->dims[d] > 0 && (count *= (double)x->dims[d]) > 0;
	for (int d = 0; d < y->rank; d++)
		known = known && y->dims[d] > 0 && (count /= (double)y->dims[d]) > 0;
	if (known)
		return pai_grad_scalar(g, n, x->dtype, 1 / count);
	pai_value *part[2] = {n->out[0], n->in[0]};
	for (int k = 0; k < 2; k++) {
		part[k] = PAI_OP1(p, "Cast", "size", PAI_OP1(p, "Size", "size", part[k]));
		pai_patch_set_int(p, part[k]->producer, "to", x->dtype);
	}
	return PAI_OP2(p, "Div", "share", part[0], part[1]);
}

/* d mean(x) = 1 / n */
pai_status pai_grad_reduce_mean(pai_grad *g, const pai_node *n, pai_value *const *dy,
				pai_value **dx)
{
	axes a = axes_of(g, n);
	pai_value *part = PAI_OP2(pai_grad_patch(g), "Mul", "share", dy[0], share(g, n));
	dx[0] = a.none ? dy[0] : expand(g, n, a, part);
	return PAI_OK;
}

/* The elements that are the extremum share dy equally. */
static pai_status extremum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	if (a.none) {
		dx[0] = dy[0];
		return PAI_OK;
	}
	pai_value *hit = PAI_OP2(p, "Equal", "hit", n->in[0], spread(g, a, n->out[0]));
	pai_value *mask = PAI_OP1(p, "Cast", "mask", hit);
	pai_patch_set_int(p, mask->producer, "to", n->in[0]->type.dtype);
	pai_value *part = PAI_OP2(p, "Div", "share", dy[0], reduce_as(g, n, a, "ReduceSum", mask));
	dx[0] = PAI_OP2(p, "Mul", "grad", mask, spread(g, a, part));
	return PAI_OK;
}

pai_status pai_grad_reduce_max(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return extremum(g, n, dy, dx);
}

pai_status pai_grad_reduce_min(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return extremum(g, n, dy, dx);
}

/* d sum|x| = sign(x) */
pai_status pai_grad_reduce_l1(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	dx[0] = PAI_OP2(p, "Mul", "grad", PAI_OP1(p, "Sign", "sign", n->in[0]),
			spread(g, a, dy[0]));
	return PAI_OK;
}

/* d sqrt(sum x^2) = x / y, 0 where y is 0 */
pai_status pai_grad_reduce_l2(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	pai_value *y = n->out[0], *zero = pai_grad_scalar(g, n, y->type.dtype, 0);
	pai_value *part = PAI_OP3(p, "Where", "part", PAI_OP2(p, "Equal", "none", y, zero), zero,
				  PAI_OP2(p, "Div", "part", dy[0], y));
	dx[0] = PAI_OP2(p, "Mul", "grad", n->in[0], spread(g, a, part));
	return PAI_OK;
}

/* d sum x^2 = 2 x */
pai_status pai_grad_reduce_sum_square(pai_grad *g, const pai_node *n, pai_value *const *dy,
				      pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	pai_value *two = pai_grad_scalar(g, n, n->in[0]->type.dtype, 2);
	pai_value *part = PAI_OP2(p, "Mul", "twice", dy[0], two);
	dx[0] = PAI_OP2(p, "Mul", "grad", n->in[0], spread(g, a, part));
	return PAI_OK;
}

/* d log(sum x) = 1 / sum(x) */
pai_status pai_grad_reduce_log_sum(pai_grad *g, const pai_node *n, pai_value *const *dy,
				   pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	pai_value *sum = a.none ? n->in[0] : reduce_as(g, n, a, "ReduceSum", n->in[0]);
	pai_value *part = PAI_OP2(p, "Div", "part", dy[0], sum);
	dx[0] = a.none ? part : expand(g, n, a, part);
	return PAI_OK;
}

/* d log(sum exp(x)) = exp(x - y) */
pai_status pai_grad_reduce_log_sum_exp(pai_grad *g, const pai_node *n, pai_value *const *dy,
				       pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	pai_value *share = PAI_OP1(p, "Exp", "share",
				   PAI_OP2(p, "Sub", "x", n->in[0], spread(g, a, n->out[0])));
	dx[0] = PAI_OP2(p, "Mul", "grad", share, spread(g, a, dy[0]));
	return PAI_OK;
}

/* Each element gets the product of the others. With q the product of those that are not 0: q / x
 * where there is no 0, q for the only 0 there is, else 0. */
pai_status pai_grad_reduce_prod(pai_grad *g, const pai_node *n, pai_value *const *dy,
				pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	axes a = axes_of(g, n);
	pai_value *x = n->in[0];
	if (a.none) {
		dx[0] = dy[0];
		return PAI_OK;
	}
	pai_value *zero = pai_grad_scalar(g, n, x->type.dtype, 0);
	pai_value *one = pai_grad_scalar(g, n, x->type.dtype, 1);
	pai_value *is_zero = PAI_OP2(p, "Equal", "is_zero", x, zero);
	pai_value *mask = PAI_OP3(p, "Where", "mask", is_zero, one, zero);
	pai_value *zeros = reduce_as(g, n, a, "ReduceSum", mask);
	pai_value *rest = PAI_OP3(p, "Where", "rest", is_zero, one, x);
	pai_value *q = PAI_OP2(p, "Mul", "q", dy[0], reduce_as(g, n, a, "ReduceProd", rest));
	pai_value *no_zero =
		PAI_OP3(p, "Where", "q0", PAI_OP2(p, "Equal", "c", zeros, zero), q, zero);
	pai_value *one_zero =
		PAI_OP3(p, "Where", "q1", PAI_OP2(p, "Equal", "c", zeros, one), q, zero);
	dx[0] = PAI_OP3(p, "Where", "grad", is_zero, spread(g, a, one_zero),
			PAI_OP2(p, "Div", "share", spread(g, a, no_zero), rest));
	return PAI_OK;
}
