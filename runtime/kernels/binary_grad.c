/* binary_grad.c -- derivatives of the operators of binary.c. A gradient has the shape of the result
 * and is summed over what broadcasting repeated of an operand. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

/* Dimensions of the result right of operand k's last, which only the broadcasting of opset < 7 has.
 */
static int skipped(const pai_node *n, int k)
{
	int64_t axis = pai_node_int(n, "axis", -1);
	if (k != 1 || !pai_op_attr_find(n->op, "broadcast") || !pai_node_int(n, "broadcast", 0) ||
	    axis < 0 || n->in[0]->type.rank < 0 || n->in[1]->type.rank < 0)
		return 0;
	int64_t skip = n->in[0]->type.rank - axis - n->in[1]->type.rank;
	return skip > 0 ? (int)skip : 0;
}

/* Operand k as today's broadcasting takes it. */
static pai_value *operand(pai_grad *g, const pai_node *n, int k)
{
	int64_t axes[PAI_MAX_RANK];
	int skip = skipped(n, k);
	for (int i = 0; i < skip; i++)
		axes[i] = n->in[k]->type.rank + i;
	return skip ? PAI_OP2(pai_grad_patch(g), "Unsqueeze", "operand", n->in[k],
			      pai_grad_ints(g, n, skip, axes))
		    : n->in[k];
}

/* dv, of the shape of the result, summed to the shape of operand k. */
static pai_value *to_operand(pai_grad *g, const pai_node *n, int k, pai_value *dv)
{
	int skip = skipped(n, k);
	pai_value *sum = pai_grad_sum_to(g, n, dv, n->out[0], n->in[k]);
	if (skip)
		pai_patch_set_int(pai_grad_patch(g), sum->producer, "skip", skip);
	return sum;
}

/* d(a + b) = 1, 1 */
pai_status pai_grad_add(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	for (int k = 0; k < 2; k++)
		if (pai_grad_wanted(g, n, k))
			dx[k] = to_operand(g, n, k, dy[0]);
	return PAI_OK;
}

/* d(a - b) = 1, -1 */
pai_status pai_grad_sub(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	PAI_TRY(pai_grad_add(g, n, dy, dx));
	if (dx[1])
		dx[1] = PAI_OP1(pai_grad_patch(g), "Neg", "grad", dx[1]);
	return PAI_OK;
}

/* d(a b) = b, a */
pai_status pai_grad_mul(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	for (int k = 0; k < 2; k++)
		if (pai_grad_wanted(g, n, k))
			dx[k] = to_operand(g, n, k,
					   PAI_OP2(p, "Mul", "grad", dy[0], operand(g, n, 1 - k)));
	return PAI_OK;
}

/* d(a / b) = 1 / b, -(1 / b) y */
pai_status pai_grad_div(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *da = PAI_OP2(p, "Div", "grad", dy[0], operand(g, n, 1));
	if (pai_grad_wanted(g, n, 0))
		dx[0] = to_operand(g, n, 0, da);
	if (pai_grad_wanted(g, n, 1)) {
		pai_value *db = PAI_OP2(p, "Mul", "grad", da, n->out[0]);
		dx[1] = PAI_OP1(p, "Neg", "grad", to_operand(g, n, 1, db));
	}
	return PAI_OK;
}

/* d(a^b) = b a^(b-1), 0 where b = 0;   a^b log(a), 0 where a = 0 and b >= 0.  a is dy below. */
PAI_FLOAT_KERNEL(ternary, PAI_LOOP3, pow_base_grad, c == 0 ? 0 : a * c * pow(b, c - 1), NULL)
PAI_FLOAT_KERNEL(ternary, PAI_LOOP3, pow_exponent_grad,
		 b == 0 && c >= 0 ? 0 : a * pow(b, c) * log(b), NULL)
pai_status pai_grad_pow(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	static const char *const ops[] = {"PowBaseGrad", "PowExponentGrad"};
	pai_value *in[3] = {dy[0], n->in[0], operand(g, n, 1)};
	for (int k = 0; k < 2; k++)
		if (pai_grad_wanted(g, n, k))
			dx[k] = to_operand(g, n, k, pai_grad_internal(g, ops[k], 3, in, NULL));
	return PAI_OK;
}

/* Of a larger and a smaller operand the larger gets dy, equal ones half each. */
PAI_FLOAT_KERNEL(ternary, PAI_LOOP3, larger_grad, b > c ? a : b == c ? a / 2 : 0, NULL)

/* Max as a chain of two operands: m[k] = max(m[k-1], x[k]). */
static pai_status extremum(pai_grad *g, const pai_node *n, pai_value *dy, pai_value **dx, bool max)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value **m = PAI_NEWS(n->graph->model->arena, pai_value *, n->n_in);
	m[0] = n->in[0];
	for (int k = 1; k < n->n_in - 1; k++)
		m[k] = PAI_OP2(p, n->op_type, "so_far", m[k - 1], n->in[k]);
	for (int k = n->n_in - 1; k > 0; k--) {
		pai_value *x = n->in[k];
		pai_value *to_x[3] = {dy, max ? x : m[k - 1], max ? m[k - 1] : x};
		pai_value *to_m[3] = {dy, to_x[2], to_x[1]};
		if (pai_grad_wanted(g, n, k))
			dx[k] = pai_grad_sum_to(g, n,
						pai_grad_internal(g, "LargerGrad", 3, to_x, NULL),
						n->out[0], x);
		dy = pai_grad_internal(g, "LargerGrad", 3, to_m, NULL);
	}
	if (pai_grad_wanted(g, n, 0))
		dx[0] = pai_grad_sum_to(g, n, dy, n->out[0], n->in[0]);
	return PAI_OK;
}

pai_status pai_grad_max(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return extremum(g, n, dy[0], dx, true);
}

pai_status pai_grad_min(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	return extremum(g, n, dy[0], dx, false);
}

/* d sum = 1 for each operand; d mean = 1 / n. */
pai_status pai_grad_sum(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	for (int k = 0; k < n->n_in; k++)
		if (pai_grad_wanted(g, n, k))
			dx[k] = pai_grad_sum_to(g, n, dy[0], n->out[0], n->in[k]);
	return PAI_OK;
}

pai_status pai_grad_mean(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_value *count = pai_grad_scalar(g, n, n->out[0]->type.dtype, n->n_in);
	pai_value *part = PAI_OP2(pai_grad_patch(g), "Div", "share", dy[0], count);
	return pai_grad_sum(g, n, &part, dx);
}

/* y = a - q b with a whole number q: 1, and -q = (y - a) / b. */
pai_status pai_grad_mod(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	if (pai_grad_wanted(g, n, 0))
		dx[0] = to_operand(g, n, 0, dy[0]);
	if (pai_grad_wanted(g, n, 1)) {
		pai_value *whole = PAI_OP2(p, "Sub", "whole", n->out[0], n->in[0]);
		pai_value *q = PAI_OP1(p, "Round", "q", PAI_OP2(p, "Div", "q", whole, n->in[1]));
		dx[1] = to_operand(g, n, 1, PAI_OP2(p, "Mul", "grad", dy[0], q));
	}
	return PAI_OK;
}

/* Where x <= 0: slope, and x for the slope; else 1 and 0. */
pai_status pai_grad_p_relu(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_value *x = n->in[0], *zero = pai_grad_scalar(g, n, x->type.dtype, 0);
	pai_value *negative = PAI_OP2(p, "LessOrEqual", "negative", x, zero);
	if (n->op->since < 7)
		return pai_fail(n->graph->model->ctx, PAI_E_no_gradient, pai_at_node(n),
				"this version of the operator is not differentiable here");
	if (pai_grad_wanted(g, n, 0))
		dx[0] = PAI_OP3(p, "Where", "grad", negative,
				PAI_OP2(p, "Mul", "scaled", dy[0], n->in[1]), dy[0]);
	if (pai_grad_wanted(g, n, 1)) {
		pai_value *part = PAI_OP2(p, "Mul", "part", dy[0], x);
		dx[1] = pai_grad_sum_to(g, n, PAI_OP3(p, "Where", "grad", negative, part, zero),
					n->out[0], n->in[1]);
	}
	return PAI_OK;
}
