/* compare.c -- operators whose result is a truth value: comparisons and logic. */
#include "runtime/kernels/elementwise.h"
#include <string.h>

#define COMPARE(name, expr)                                 \
	PAI_LOOP2(name##_f32, float, f32, uint8_t, expr)    \
	PAI_LOOP2(name##_f64, double, f64, uint8_t, expr)   \
	PAI_LOOP2(name##_i64, int64_t, i64, uint8_t, expr)  \
	PAI_LOOP2(name##_u64, uint64_t, u64, uint8_t, expr) \
	static const pai_elementwise name##_rows = {        \
		.loop = {name##_f32, name##_f64, name##_i64, name##_u64}, .truth = true};

COMPARE(equal, a == b)
COMPARE(less, a < b)
COMPARE(greater, a > b)
COMPARE(less_or_equal, a <= b)
COMPARE(greater_or_equal, a >= b)
COMPARE(and, a &&b)
COMPARE(or, a || b)
COMPARE(xor, !a != !b)

const pai_kernel pai_kernel_less = {.run = pai_binary_run, .data = &less_rows};
const pai_kernel pai_kernel_greater = {.run = pai_binary_run, .data = &greater_rows};
const pai_kernel pai_kernel_less_or_equal = {.run = pai_binary_run, .data = &less_or_equal_rows};
const pai_kernel pai_kernel_greater_or_equal = {.run = pai_binary_run,
						.data = &greater_or_equal_rows};
const pai_kernel pai_kernel_xor = {.run = pai_binary_run, .data = &xor_rows};
const pai_kernel pai_kernel_and = {.run = pai_binary_run, .data = &and_rows};
const pai_kernel pai_kernel_or = {.run = pai_binary_run, .data = &or_rows};

typedef struct strings {
	const pai_str *a, *b;
	uint8_t *y;
} strings;

static void equal_strings(const void *payload, int64_t length, const int64_t *at, const bool *one,
			  int64_t out_at)
{
	const strings *s = payload;
	for (int64_t i = 0; i < length; i++) {
		const pai_str *a = &s->a[at[0] + (one[0] ? 0 : i)];
		const pai_str *b = &s->b[at[1] + (one[1] ? 0 : i)];
		s->y[out_at + i] = a->n == b->n && memcmp(a->at, b->at, a->n) == 0;
	}
}

static pai_status equal(pai_call *c)
{
	if (c->in[0]->dtype != PAI_STRING || c->in[1]->dtype != PAI_STRING)
		return pai_elementwise_call(c, c->kernel->data, 2, 0, NULL);
	pai_operand in[2];
	pai_call_operands(c, 2, in);
	int rank;
	int64_t dims[PAI_MAX_RANK];
	PAI_TRY(pai_broadcast_dims(c, 2, in, &rank, dims));
	PAI_TRY(pai_call_output(c, 0, PAI_BOOL, rank, dims));
	strings s = {c->in[0]->data, c->in[1]->data, c->out[0]->data};
	pai_each_row(2, in, c->out[0], equal_strings, &s);
	return PAI_OK;
}
const pai_kernel pai_kernel_equal = {.run = equal, .data = &equal_rows};

PAI_LOOP1(is_nan_f32, float, f32, uint8_t, a != a)
PAI_LOOP1(is_nan_f64, double, f64, uint8_t, a != a)
const pai_kernel pai_kernel_is_nan = {
	.run = pai_unary_run,
	.data = &(const pai_elementwise){.loop = {is_nan_f32, is_nan_f64}, .truth = true}};

/* p0: negative infinities count, p1: positive ones. */
PAI_LOOP1(is_inf_f32, float, f32, uint8_t, isinf(a) && (a < 0 ? p0 : p1) != 0)
PAI_LOOP1(is_inf_f64, double, f64, uint8_t, isinf(a) && (a < 0 ? p0 : p1) != 0)
static const pai_elementwise is_inf_rows = {.loop = {is_inf_f32, is_inf_f64}, .truth = true};

static pai_status is_inf(pai_call *c)
{
	bool negative = pai_node_int(c->node, "detect_negative", 1) != 0;
	bool positive = pai_node_int(c->node, "detect_positive", 1) != 0;
	pai_params p = {.f32 = {negative, positive}};
	if (pai_lane_of(c->in[0]->dtype) == PAI_LANE_F64)
		p = (pai_params){.f64 = {negative, positive}};
	return pai_elementwise_call(c, &is_inf_rows, 1, 0, &p);
}
const pai_kernel pai_kernel_is_inf = {.run = is_inf};
