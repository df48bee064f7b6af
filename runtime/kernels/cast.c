/* cast.c -- Cast between all element types but the complex ones.
 *
 * Numbers go through a lane that holds the source exactly. Floats to integers truncate and saturate
 * (ONNX leaves what does not fit open), except to 2 and 4 bits, where its tests expect the low
 * bits, as integers to narrower integers always keep. Numbers become the shortest text that reads
 * back to the same number. */
#include "runtime/kernels/grad.h"
#include "runtime/kernels/lanes.h"
#include "runtime/run.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef pai_status (*cast_fn)(pai_call *c, const pai_tensor *x, pai_tensor *y);

static pai_status numbers(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	(void)c;
	pai_lane lane = pai_lane_of(x->dtype);
	int64_t n = pai_tensor_nelem(x);
	bool direct = pai_lane_direct(lane, x->dtype), own = pai_lane_direct(lane, y->dtype);
	pai_chunk chunk;
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		size_t at = (size_t)i * pai_lane_size(lane);
		const void *from = direct ? (const char *)x->data + at : (const void *)&chunk;
		if (own)
			pai_lane_load(lane, (char *)y->data + at, x->dtype, x->data, i, m);
		else if (!direct)
			pai_lane_load(lane, &chunk, x->dtype, x->data, i, m);
		if (!own)
			pai_lane_store(lane, from, y->dtype, y->data, i, m);
	}
	return PAI_OK;
}

/* To the 2- and 4-bit integers, which keep the low bits of the truncated number. */
static pai_status low_bits(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	(void)c;
	int64_t n = pai_tensor_nelem(x);
	pai_chunk chunk;
	for (int64_t i = 0; i < n; i += PAI_CHUNK) {
		int64_t m = n - i < PAI_CHUNK ? n - i : PAI_CHUNK;
		pai_lane_load(PAI_LANE_I64, &chunk, x->dtype, x->data, i, m);
		pai_lane_store(PAI_LANE_I64, &chunk, y->dtype, y->data, i, m);
	}
	return PAI_OK;
}

/* The 8-bit floats without saturation: what is out of range becomes infinity or NaN. */
static pai_status overflowing(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	(void)c;
	int64_t n = pai_tensor_nelem(x);
	float v;
	for (int64_t i = 0; i < n; i++) {
		pai_lane_load(PAI_LANE_F32, &v, x->dtype, x->data, i, 1);
		((uint8_t *)y->data)[i] = pai_float_to_small(y->dtype, v, false);
	}
	return PAI_OK;
}

enum { E8M0_BIAS = 127, E8M0_NAN = 255, E8M0_MAX = 254 };

/* A power of two, rounded `up`, `down` or to the `nearest` (ties up); no sign, no zero, no
 * infinity. Magnitudes beyond 2^127 saturate or become NaN. */
static uint8_t to_e8m0(float v, const char *mode, bool saturate)
{
	int exponent;
	if (isnan(v) || (isinf(v) && !saturate))
		return E8M0_NAN;
	if (isinf(v))
		return E8M0_MAX;
	float m = frexpf(fabsf(v), &exponent); /* m * 2^exponent, m in [0.5, 1) */
	if (m == 0)
		return 0;
	int code = exponent - 1 + E8M0_BIAS;
	if ((mode[0] == 'u' && m > 0.5f) || (mode[0] == 'n' && m >= 0.75f))
		code++;
	if (code < 0)
		return 0;
	if (code > E8M0_MAX)
		return saturate ? E8M0_MAX : E8M0_NAN;
	return (uint8_t)code;
}

static pai_status powers_of_two(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	const char *mode = pai_node_string(c->node, "round_mode", "up");
	bool saturate = pai_node_int(c->node, "saturate", 1) != 0;
	int64_t n = pai_tensor_nelem(x);
	float v;
	for (int64_t i = 0; i < n; i++) {
		pai_lane_load(PAI_LANE_F32, &v, x->dtype, x->data, i, 1);
		((uint8_t *)y->data)[i] = to_e8m0(v, mode, saturate);
	}
	return PAI_OK;
}

enum { NUMBER_TEXT = 64 };

static bool is_real(pai_dtype dtype)
{
	return pai_dtype_get(dtype)->kind == PAI_KIND_FLOAT;
}

/* One number from text, into element i of y. */
static bool parse_number(const pai_str *s, pai_tensor *y, int64_t i)
{
	char text[NUMBER_TEXT], *end;
	size_t n = s->n < NUMBER_TEXT - 1 ? s->n : NUMBER_TEXT - 1;
	memcpy(text, s->at, n);
	text[n] = 0;
	if (n == 0 || s->n > n)
		return false;
	if (is_real(y->dtype)) {
		double v = strtod(text, &end);
		pai_lane_store(PAI_LANE_F64, &v, y->dtype, y->data, i, 1);
	} else if (pai_lane_of(y->dtype) == PAI_LANE_U64) {
		uint64_t v = strtoull(text, &end, 10);
		pai_lane_store(PAI_LANE_U64, &v, y->dtype, y->data, i, 1);
	} else {
		int64_t v = strtoll(text, &end, 10);
		pai_lane_store(PAI_LANE_I64, &v, y->dtype, y->data, i, 1);
	}
	return end == text + n;
}

static pai_status from_text(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	int64_t n = pai_tensor_nelem(x);
	const pai_str *s = x->data;
	for (int64_t i = 0; i < n; i++)
		if (!parse_number(&s[i], y, i))
			return pai_fail(c->ctx, PAI_E_bad_input, pai_at_input(c->node, 0),
					"element %lld is not a number", (long long)i);
	return PAI_OK;
}

/* The fewest digits that read back to v in its own type. */
static void print_real(char text[NUMBER_TEXT], double v, pai_dtype dtype)
{
	int64_t one = 1;
	pai_tensor t = {.dtype = dtype, .rank = 1, .dims = &one};
	double back;
	t.data = &back;
	for (int digits = 1; digits <= 17; digits++) {
		snprintf(text, NUMBER_TEXT, "%.*g", digits, v);
		pai_tensor_set(&t, 0, strtod(text, NULL));
		if (pai_tensor_get(&t, 0) == v)
			return;
	}
}

static pai_status to_text(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	int64_t n = pai_tensor_nelem(x);
	pai_str *s = y->data;
	for (int64_t i = 0; i < n; i++) {
		char text[NUMBER_TEXT];
		if (is_real(x->dtype))
			print_real(text, pai_tensor_get(x, i), x->dtype);
		else if (x->dtype == PAI_UINT64)
			snprintf(text, sizeof text, "%llu",
				 (unsigned long long)((const uint64_t *)x->data)[i]);
		else
			snprintf(text, sizeof text, "%lld", (long long)pai_tensor_get_int(x, i));
		s[i].n = strlen(text);
		s[i].at = pai_run_string(c->run, text, s[i].n);
	}
	return PAI_OK;
}

static pai_status copy_text(pai_call *c, const pai_tensor *x, pai_tensor *y)
{
	(void)c;
	if (x->data != y->data)
		pai_copy(y->data, x->data, sizeof(pai_str) * (size_t)pai_tensor_nelem(x));
	return PAI_OK;
}

static cast_fn choose(const pai_call *c, pai_dtype from, pai_dtype to)
{
	if (from == PAI_STRING)
		return to == PAI_STRING ? copy_text : from_text;
	if (to == PAI_STRING)
		return to_text;
	if (to == PAI_FLOAT8E8M0)
		return powers_of_two;
	if (!is_real(to) && pai_dtype_get(to)->bits < 8)
		return low_bits;
	bool small = is_real(to) && pai_dtype_get(to)->bits == 8;
	return small && !pai_node_int(c->node, "saturate", 1) ? overflowing : numbers;
}

static pai_status cast(pai_call *c)
{
	const pai_tensor *x = c->in[0];
	const pai_attr *a = pai_node_attr(c->node, "to");
	pai_dtype to = PAI_UNDEFINED;
	if (a && a->type == PAI_ATTR_INT && a->i > 0 && a->i < PAI_DTYPE_COUNT)
		to = (pai_dtype)a->i;
	for (int d = 1; a && a->type == PAI_ATTR_STRING && d < PAI_DTYPE_COUNT; d++)
		if (strcmp(pai_dtype_get(d)->name, a->s.at) == 0)
			to = (pai_dtype)d;
	bool able = (to == PAI_STRING || pai_lane_of(to) != PAI_LANE_NONE) &&
		    (x->dtype == PAI_STRING || pai_lane_of(x->dtype) != PAI_LANE_NONE);
	if (!able)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_attr(c->node, "to"),
				"cannot cast %s to %s", pai_dtype_get(x->dtype)->text,
				pai_dtype_get(to)->text);
	PAI_TRY(pai_call_output(c, 0, to, x->rank, x->dims));
	return choose(c, x->dtype, to)(c, x, c->out[0]);
}
const pai_kernel pai_kernel_cast = {.run = cast};

/* The type comes with another tensor. */
static pai_status cast_like(pai_call *c)
{
	const pai_tensor *x = c->in[0], *like = c->in[1];
	PAI_TRY(pai_call_output(c, 0, like->dtype, x->rank, x->dims));
	if ((like->dtype != PAI_STRING && pai_lane_of(like->dtype) == PAI_LANE_NONE) ||
	    (x->dtype != PAI_STRING && pai_lane_of(x->dtype) == PAI_LANE_NONE))
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"cannot cast %s to %s", pai_dtype_get(x->dtype)->text,
				pai_dtype_get(like->dtype)->text);
	return choose(c, x->dtype, like->dtype)(c, x, c->out[0]);
}
const pai_kernel pai_kernel_cast_like = {.run = cast_like};

/* Between floats the gradient passes, cast back. */
pai_status pai_grad_cast(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	pai_patch *p = pai_grad_patch(g);
	pai_dtype from = n->in[0]->type.dtype;
	if (!is_real(from))
		return PAI_OK;
	dx[0] = PAI_OP1(p, "Cast", "grad", dy[0]);
	pai_patch_set_int(p, dx[0]->producer, "to", from);
	return PAI_OK;
}
