/* binary.c -- arithmetic of two operands with broadcasting, and Min, Max over any number. Integers
 * wrap around; division of integers truncates, and by zero is an error. */
#include "runtime/kernels/elementwise.h"

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

const pai_kernel pai_kernel_add = {.run = pai_binary_run, .data = &add_rows};
const pai_kernel pai_kernel_sub = {.run = pai_binary_run, .data = &sub_rows};
const pai_kernel pai_kernel_mul = {.run = pai_binary_run, .data = &mul_rows};

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

static pai_status divide_by_rows(pai_call *c, const pai_elementwise *e)
{
	if (c->in[1] && has_zero(c->in[1]))
		return pai_fail(c->ctx, PAI_E_division_by_zero, pai_at_input(c->node, 1),
				"holds a zero");
	return pai_elementwise_call(c, e, 2, 0, NULL);
}

static pai_status divide(pai_call *c)
{
	return divide_by_rows(c, &div_rows);
}
const pai_kernel pai_kernel_div = {.run = divide};

/* The remainder has the sign of the dividend with `fmod`, else that of the divisor. */
#define REMAINDER(a, b) ((b) == -1 ? 0 : (a) % (b))
BINARY(fmod, fmod(a, b), REMAINDER(a, b), a % b)
BINARY(mod, a - floor(a / b) * b,
       REMAINDER(a, b) != 0 && (a < 0) != (b < 0) ? REMAINDER(a, b) + b : REMAINDER(a, b), a % b)

static pai_status mod(pai_call *c)
{
	return divide_by_rows(c, pai_node_int(c->node, "fmod", 0) ? &fmod_rows : &mod_rows);
}
const pai_kernel pai_kernel_mod = {.run = mod};

/* Before opset 7 a slope of one dimension belongs to the channels. */
BINARY(p_relu, a < 0 ? a * b : a, a < 0 ? WRAP(*) : a, a)
static pai_status p_relu(pai_call *c)
{
	const pai_tensor *x = c->in[0], *slope = c->in[1];
	pai_operand in[2] = {{x, 0}, {slope, 0}};
	pai_lane lane = pai_lane_of(x->dtype);
	if (lane == PAI_LANE_NONE || pai_lane_of(slope->dtype) == PAI_LANE_NONE)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node), "has no numbers");
	if (c->node->op->since < 7 && slope->rank == 1 && pai_tensor_nelem(slope) != 1 &&
	    x->rank > 2)
		in[1].skip = x->rank - 2;
	int rank;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pai_broadcast_dims(c, 2, in, &rank, dims));
	PAI_TRY(pai_call_output(c, 0, x->dtype, rank, dims));
	return pai_elementwise_apply(c, &p_relu_rows, lane, 2, in, c->out[0], &(pai_params){{0}});
}
const pai_kernel pai_kernel_p_relu = {.run = p_relu};

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
const pai_kernel pai_kernel_pow = {.run = power};

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
const pai_kernel pai_kernel_max = {.run = fold, .data = &max_rows};
const pai_kernel pai_kernel_min = {.run = fold, .data = &min_rows};
const pai_kernel pai_kernel_sum = {.run = fold, .data = &add_rows};

PAI_FLOATS(PAI_LOOP1, divide_by, a / p0)
static pai_status mean(pai_call *c)
{
	static const pai_elementwise rows = {.loop = {divide_by_f32, divide_by_f64}};
	PAI_TRY(fold(c));
	pai_lane lane = pai_lane_of(c->out[0]->dtype);
	if (!rows.loop[lane])
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0), "has no floats");
	pai_params p = {.f32 = {(float)c->n_in}};
	if (lane == PAI_LANE_F64)
		p.f64[0] = c->n_in;
	return pai_elementwise_apply(c, &rows, lane, 1, &(const pai_operand){c->out[0], 0},
				     c->out[0], &p);
}
const pai_kernel pai_kernel_mean = {.run = mean, .data = &add_rows};
