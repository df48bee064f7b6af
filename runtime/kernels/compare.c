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
COMPARE(and, a &&b)
COMPARE(or, a || b)

const pai_kernel pai_kernel_less = {pai_binary_run, &less_rows};
const pai_kernel pai_kernel_greater = {pai_binary_run, &greater_rows};
const pai_kernel pai_kernel_and = {pai_binary_run, &and_rows};
const pai_kernel pai_kernel_or = {pai_binary_run, &or_rows};

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
const pai_kernel pai_kernel_equal = {equal, &equal_rows};
