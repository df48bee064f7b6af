/* test_tensor.c -- number formats bit by bit, packing, sizes. */
#include "compiler/compiler.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

typedef struct small { /* a format of at most 8 bits, in the words of its definition */
	pai_dtype dtype;
	int exponent, mantissa, bias, codes;
	double greatest;
	int nan, infinity; /* a code; -1: none */
} small;

static const small smalls[] = {
	{PAI_FLOAT8E4M3FN, 4, 3, 7, 256, 448, 0x7f, -1},
	{PAI_FLOAT8E4M3FNUZ, 4, 3, 8, 256, 240, 0x80, -1},
	{PAI_FLOAT8E5M2, 5, 2, 15, 256, 57344, 0x7e, 0x7c},
	{PAI_FLOAT8E5M2FNUZ, 5, 2, 16, 256, 57344, 0x80, -1},
	{PAI_FLOAT4E2M1, 2, 1, 1, 16, 6, -1, -1},
};

/* Value of a finite code, from the definition. */
static double value_of(const small *f, int code)
{
	int top = f->codes / 2, rest = code & (top - 1);
	int exponent = rest >> f->mantissa, mantissa = rest & ((1 << f->mantissa) - 1);
	double v = exponent ? ldexp(1 + ldexp(mantissa, -f->mantissa), exponent - f->bias)
			    : ldexp(mantissa, 1 - f->bias - f->mantissa);
	return code & top ? -v : v;
}

static bool is_finite_code(const small *f, int code)
{
	int magnitude = code & (f->codes / 2 - 1);
	return code != f->nan && fabs(value_of(f, code)) <= f->greatest &&
	       !(f->nan == 0x7f && magnitude == 0x7f);
}

static void test_small_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof smalls / sizeof *smalls; i++) {
		const small *f = &smalls[i];
		for (int code = 0; code < f->codes; code++) {
			float v = pai_small_to_float(f->dtype, (uint8_t)code);
			if (is_finite_code(f, code)) {
				assert_true((double)v == value_of(f, code));
				assert_true(!signbit(v) == !(code & f->codes / 2));
			} else if (f->infinity >= 0 && (code & 0x7f) == f->infinity) {
				assert_true(isinf(v) && !signbit(v) == !(code & 0x80));
			} else {
				assert_true(isnan(v));
			}
		}
	}
}

/* Nearest code by search, the even one of two. */
static int nearest(const small *f, double x)
{
	int best = 0;
	double distance = INFINITY;
	for (int code = 0; code < f->codes / 2; code++) {
		double d = fabs(value_of(f, code) - fabs(x));
		if (is_finite_code(f, code) && (d < distance || (d == distance && code % 2 == 0))) {
			best = code;
			distance = d;
		}
	}
	return best;
}

static void test_small_encode(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof smalls / sizeof *smalls; i++) {
		const small *f = &smalls[i];
		for (int code = 0; code < f->codes; code++) /* codes come back */
			if (is_finite_code(f, code))
				assert_int_equal(pai_float_to_small(f->dtype,
								    (float)value_of(f, code), true),
						 code);
		for (double x = f->greatest * 0.99; x > 1e-9; x *= 0.9973) {
			int want = nearest(f, (float)x);
			int negative = want || f->nan != 0x80 ? want | f->codes / 2 : 0;
			assert_int_equal(pai_float_to_small(f->dtype, (float)x, true), want);
			assert_int_equal(pai_float_to_small(f->dtype, (float)-x, true), negative);
		}
		int greatest = nearest(f, f->greatest);
		float twice = (float)(2 * f->greatest);
		assert_int_equal(pai_float_to_small(f->dtype, twice, true), greatest);
		assert_int_equal(pai_float_to_small(f->dtype, INFINITY, true), greatest);
		int over = pai_float_to_small(f->dtype, twice, false);
		assert_int_equal(over, f->infinity >= 0 ? f->infinity
				       : f->nan >= 0    ? f->nan
							: greatest);
	}
}

static void test_half(void **state)
{
	(void)state;
	static const struct {
		float from;
		uint16_t half, bfloat;
	} rows[] = {
		{0, 0, 0},
		{-0.0f, 0x8000, 0x8000},
		{1, 0x3c00, 0x3f80},
		{65504, 0x7bff, 0x4780},
		{65519.996f, 0x7bff, 0x4780},
		{65520, 0x7c00, 0x4780},
		{1e30f, 0x7c00, 0x714a},
		{INFINITY, 0x7c00, 0x7f80},
		{-INFINITY, 0xfc00, 0xff80},
		{6.103515625e-05f, 0x0400, 0x3880}, /* smallest normal */
		{5.9604645e-08f, 0x0001, 0x3380},   /* smallest subnormal */
		{2.9802322e-08f, 0x0000, 0x3300},   /* half of it: to even */
		{2.9802326e-08f, 0x0001, 0x3300},
		{8.9406967e-08f, 0x0002, 0x33c0},          /* one and a half: to even */
		{6.1005353927612305e-05f, 0x0400, 0x3880}, /* up to the normal numbers */
		{1.00048828125f, 0x3c00, 0x3f80},          /* tie to even, downwards */
		{1.00146484375f, 0x3c02, 0x3f80},          /* tie to even, upwards */
		{1.00390625f, 0x3c04, 0x3f80},
		{1.01171875f, 0x3c0c, 0x3f82},
		{3.4028235e38f, 0x7c00, 0x7f80},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(pai_float_to_half(rows[i].from), rows[i].half);
		assert_int_equal(pai_float_to_bfloat(rows[i].from), rows[i].bfloat);
	}
	for (uint32_t h = 0; h < 0x10000; h++) {
		float half = pai_half_to_float((uint16_t)h);
		float bfloat = pai_bfloat_to_float((uint16_t)h);
		assert_true(isnan(half) ? (h & 0x7fff) > 0x7c00 : pai_float_to_half(half) == h);
		assert_true(isnan(bfloat) ? (h & 0x7fff) > 0x7f80
					  : pai_float_to_bfloat(bfloat) == h);
	}
	assert_true(isnan(pai_half_to_float(pai_float_to_half(NAN))));
	assert_true(isnan(pai_bfloat_to_float(pai_float_to_bfloat(NAN))));
}

static void test_power(void **state)
{
	(void)state;
	assert_true(pai_small_to_float(PAI_FLOAT8E8M0, 127) == 1);
	assert_true(pai_small_to_float(PAI_FLOAT8E8M0, 0) == ldexpf(1, -127));
	assert_true(isnan(pai_small_to_float(PAI_FLOAT8E8M0, 255)));
	for (int code = 0; code < 255; code++)
		assert_int_equal(
			pai_float_to_small(PAI_FLOAT8E8M0,
					   pai_small_to_float(PAI_FLOAT8E8M0, (uint8_t)code), true),
			code);
	assert_int_equal(pai_float_to_small(PAI_FLOAT8E8M0, 1.4f, true), 127);
	assert_int_equal(pai_float_to_small(PAI_FLOAT8E8M0, 1.6f, true), 128);
	assert_int_equal(pai_float_to_small(PAI_FLOAT8E8M0, INFINITY, true), 254);
	assert_int_equal(pai_float_to_small(PAI_FLOAT8E8M0, INFINITY, false), 255);
}

/* Every numeric type takes its own values and gives them back, at odd places too. */
static void test_elements(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	static const double values[] = {0, 1, -2, 1.5, -1, 0.5, 2};
	int64_t n = sizeof values / sizeof *values;
	for (int d = 1; d < PAI_DTYPE_COUNT; d++) {
		const pai_dtype_info *info = pai_dtype_get(d);
		if (info->kind == PAI_KIND_STRING || info->kind == PAI_KIND_COMPLEX ||
		    d == PAI_FLOAT8E8M0)
			continue;
		pai_tensor *t = pai_tensor_new(a, (pai_dtype)d, 1, &n);
		memset(t->data, 0xff, t->nbytes);
		for (int64_t i = n; i-- > 0;)
			pai_tensor_set(t, i, values[i]);
		for (int64_t i = 0; i < n; i++) {
			double want = values[i];
			if (info->kind == PAI_KIND_BOOL)
				want = want != 0;
			else if (info->kind != PAI_KIND_FLOAT)
				want = nearbyint(want);
			if (info->kind == PAI_KIND_UNSIGNED && want < 0)
				want = 0;
			if (info->kind == PAI_KIND_SIGNED && info->bits == 2 && want > 1)
				want = 1;
			if (pai_tensor_get(t, i) != want)
				fail_msg("%s[%d] is %g, not %g", info->name, (int)i,
					 pai_tensor_get(t, i), want);
			assert_int_equal(pai_tensor_get_int(t, i), (int64_t)want);
		}
	}
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static void test_saturation(void **state)
{
	(void)state;
	static const struct {
		pai_dtype dtype;
		double from;
		int64_t want;
	} rows[] = {
		{PAI_INT8, 1000, 127},
		{PAI_INT8, -1000, -128},
		{PAI_UINT8, 255.5, 255},
		{PAI_UINT8, -1, 0},
		{PAI_INT4, 8, 7},
		{PAI_INT4, -9, -8},
		{PAI_UINT4, 16, 15},
		{PAI_INT2, 2, 1},
		{PAI_INT2, -3, -2},
		{PAI_UINT2, 4, 3},
		{PAI_INT64, 1e300, INT64_MAX},
		{PAI_INT64, -1e300, INT64_MIN},
		{PAI_INT32, 2147483647.0, INT32_MAX},
		{PAI_INT32, 2.5, 2},
		{PAI_INT32, 3.5, 4},
		{PAI_INT32, NAN, 0},
		{PAI_BOOL, -0.5, 1},
	};
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t one = 1;
		pai_tensor *t = pai_tensor_new(a, rows[i].dtype, 1, &one);
		pai_tensor_set(t, 0, rows[i].from);
		assert_int_equal(pai_tensor_get_int(t, 0), rows[i].want);
	}
	int64_t one = 1;
	pai_tensor *t = pai_tensor_new(a, PAI_UINT64, 1, &one);
	pai_tensor_set(t, 0, 1e300);
	assert_true(*(uint64_t *)t->data == UINT64_MAX);
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

static void test_sizes(void **state)
{
	(void)state;
	static const struct {
		pai_dtype dtype;
		int rank;
		int64_t dims[4];
		int64_t want; /* -1: refused */
	} rows[] = {
		{PAI_FLOAT, 0, {0}, 4},
		{PAI_FLOAT, 1, {3}, 12},
		{PAI_FLOAT, 2, {0, 5}, 0},
		{PAI_FLOAT, 2, {-1, 5}, -1},
		{PAI_FLOAT, 2, {0, -1}, -1},
		{PAI_FLOAT, 3, {INT64_MAX, INT64_MAX, 0}, -1}, /* products of sizes stay in range */
		{PAI_FLOAT, 3, {1 << 20, 1 << 20, 0}, 0},
		{PAI_FLOAT, 3, {1 << 27, 1 << 20, 0}, 0},
		{PAI_FLOAT, 3, {1 << 28, 0, 1 << 20}, -1},
		{PAI_FLOAT, 2, {INT64_MAX, 2}, -1},
		{PAI_FLOAT, 2, {1ll << 32, 1ll << 32}, -1},
		{PAI_FLOAT, 1, {1ll << 61}, -1},
		{PAI_UINT8, 1, {1ll << 47}, 1ll << 47},
		{PAI_UINT8, 1, {(1ll << 47) + 1}, -1},
		{PAI_DOUBLE, 1, {1ll << 60}, -1},
		{PAI_INT4, 1, {1}, 1},
		{PAI_INT4, 1, {5}, 3},
		{PAI_INT4, 2, {3, 3}, 5},
		{PAI_UINT2, 1, {5}, 2},
		{PAI_INT2, 1, {4}, 1},
		{PAI_UINT2, 1, {(1ll << 47) - 1}, 1ll << 45},
		{PAI_COMPLEX128, 1, {2}, 32},
		{PAI_STRING, 1, {2}, 2 * (int64_t)sizeof(pai_str)},
		{PAI_UNDEFINED, 1, {2}, -1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t got = 0;
		bool ok = pai_tensor_nbytes(rows[i].dtype, rows[i].rank, rows[i].dims, &got);
		if (ok != (rows[i].want >= 0) || (ok && got != (size_t)rows[i].want))
			fail_msg("row %zu: %d, %zu bytes", i, ok, got);
	}
}

static void test_equal(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	int64_t three = 3, four = 4;
	pai_tensor *p = pai_tensor_new(a, PAI_INT4, 1, &three);
	pai_tensor *q = pai_tensor_new(a, PAI_INT4, 1, &three);
	memcpy(p->data, "\x21\x03", 2);
	memcpy(q->data, "\x21\xf3", 2); /* differs in the unused half byte */
	assert_true(pai_tensor_equal(p, q));
	memcpy(q->data, "\x21\x04", 2);
	assert_false(pai_tensor_equal(p, q));
	assert_false(pai_tensor_equal(p, pai_tensor_new(a, PAI_INT4, 1, &four)));
	pai_str x = {"ab", 2}, y = {"ab\0", 3};
	pai_tensor s = {.dtype = PAI_STRING, .data = &x, .nbytes = sizeof x}, t = s;
	t.data = &y;
	assert_false(pai_tensor_equal(&s, &t));
	y.n = 2;
	assert_true(pai_tensor_equal(&s, &t));
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_decode), cmocka_unit_test(test_small_encode),
		cmocka_unit_test(test_half),         cmocka_unit_test(test_power),
		cmocka_unit_test(test_elements),     cmocka_unit_test(test_saturation),
		cmocka_unit_test(test_sizes),        cmocka_unit_test(test_equal),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
