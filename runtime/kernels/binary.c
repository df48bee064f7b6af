/* binary.c -- arithmetic of two operands with broadcasting, and Min, Max over any number. Integers
 * wrap around; division of integers truncates, and by zero is an error. */
#include "runtime/kernels/elementwise.h"
#include "runtime/kernels/grad.h"

#define BINARY(name, floats, signeds, unsigneds)           \
	PAI_FLOATS(PAI_LOOP2, name, floats)                \
	PAI_LOOP2(name##_i64, int64_t, i64, T, signeds)    \
	PAI_LOOP2(name##_u64, uint64_t, u64, T, unsigneds) \
	static const pai_elementwise name##_rows = {       \
		.loop = {name##_f32, name##_f64, name##_i64, name##_u64}};
#define WRAP(op) (T)((uint64_t)a op(uint64_t) b)

BINARY(add, a + b, WRAP(+), a + b)
BINARY(sub, a - b, WRAP(-), a - b)
BINARY(mul, a *b, WRAP(*), a *b)
BINARY(div, a / b, b == -1 ? (T)(0 - (uint64_t)a) : a / b, a / b)
BINARY(max, a > b || a != a ? a : b, a > b ? a : b, a > b ? a : b)
BINARY(min, a < b || a != a ? a : b, a < b ? a : b, a < b ? a : b)

const pai_kernel pai_kernel_add = {pai_binary_run, &add_rows};
const pai_kernel pai_kernel_sub = {pai_binary_run, &sub_rows};
const pai_kernel pai_kernel_mul = {pai_binary_run, &mul_rows};

/* Of an integer divisor. */
static bool has_zero(const pai_tensor *t)
{
	pai_chunk chunk;
	int64_t n = pai_tensor_nelem(t);
	pai_lane lane = pai_lane_of(t->dtype);
	if (lane != PAI_LANE_I64 && lane != PAI_LANE_U64)
		return false;
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_lane_load(PAI_LANE_I64, &chunk, t->dtype, t->data, i, m);
		for (int64_t k = 0; k < m; k++)
			if (chunk.i64[k] == 0)
				return true;
	}
	return false;
}

static pai_status divide(pai_call *c)
{
	if (c->in[1] && has_zero(c->in[1]))
		return pai_fail(c->ctx, PAI_E_division_by_zero, pai_at_input(c->node, 1),
				"holds a zero");
	return pai_elementwise_call(c, c->kernel->data, 2, 0, NULL);
}
const pai_kernel pai_kernel_div = {divide, &div_rows};

/* Exact powers of integers, wrapping around; a negative exponent truncates towards 0. */
static int64_t int_pow(int64_t base, int64_t exponent)
{
	if (exponent < 0)
		return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
	uint64_t result = 1, square = (uint64_t)base;
	for (; exponent; exponent >>= 1, square *= square)
		if (exponent & 1)
			result *= square;
	return (int64_t)result;
}

PAI_FLOATS(PAI_LOOP2, pow, pow(a, b))
PAI_LOOP2(pow_i64, int64_t, i64, T, int_pow(a, b))
static const pai_elementwise pow_rows = {.loop = {pow_f32, pow_f64, pow_i64, NULL}};

/* The exponent may have another type than the base, whose type the result has. */
static pai_status power(pai_call *c)
{
	pai_operand in[2];
	pai_call_operands(c, 2, in);
	pai_lane lane = pai_lane_of(c->in[0]->dtype), other = pai_lane_of(c->in[1]->dtype);
	if (lane == PAI_LANE_NONE || other == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node), "has no numbers");
	if (lane == PAI_LANE_U64)
		lane = PAI_LANE_I64;
	if (lane == PAI_LANE_I64 && (other == PAI_LANE_F32 || other == PAI_LANE_F64))
		lane = PAI_LANE_F64;
	int rank;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pai_broadcast_dims(c, 2, in, &rank, dims));
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, rank, dims));
	return pai_elementwise_apply(c, &pow_rows, lane, 2, in, c->out[0], &(pai_params){{0}});
}
const pai_kernel pai_kernel_pow = {power, NULL};

/* Operators over any number of operands fold them from the left into the output. */
static pai_status fold(pai_call *c)
{
	const pai_elementwise *e = c->kernel->data;
	pai_operand in[2] = {{c->out[0], 0}, {c->in[0], 0}};
	int rank = 0;
	int64_t dims[PAI_MAX_RANK], widest[PAI_MAX_RANK];
	pai_tensor all = {.rank = 0, .dims = widest};
	for (int k = 0; k < c->n_in; k++) {
		if (!c->in[k] || pai_lane_of(c->in[k]->dtype) == PAI_LANE_NONE)
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, k),
					"is missing or has no numbers");
		in[0].t = &all;
		in[1].t = c->in[k];
		PAI_TRY(pai_broadcast_dims(c, 2, in, &rank, dims));
		all.rank = rank;
		pai_copy(widest, dims, sizeof *dims * (size_t)rank);
	}
	PAI_TRY(pai_call_output(c, 0, c->in[0]->dtype, rank, dims));
	pai_lane lane = pai_lane_of(c->in[0]->dtype);
	const pai_params none = {{0}};
	/* The first two start it; of one alone, the maximum with itself is a copy. */
	const pai_elementwise *start = c->n_in > 1 ? e : &max_rows;
	in[0].t = c->in[0];
	in[1].t = c->in[c->n_in > 1];
	PAI_TRY(pai_elementwise_apply(c, start, lane, 2, in, c->out[0], &none));
	for (int k = 2; k < c->n_in; k++) {
		in[0].t = c->out[0];
		in[1].t = c->in[k];
		PAI_TRY(pai_elementwise_apply(c, e, lane, 2, in, c->out[0], &none));
	}
	return PAI_OK;
}
const pai_kernel pai_kernel_max = {fold, &max_rows};
const pai_kernel pai_kernel_min = {fold, &min_rows};

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
