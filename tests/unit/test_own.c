/* test_own.c -- our arithmetic, every table of it, against plain loops in double. */
#include "runtime/fast/own.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint32_t state = 12345;

static int64_t size_to(int64_t most)
{
	state = state * 1664525u + 1013904223u;
	return 1 + (state >> 8) % (uint32_t)most;
}

static float *numbers(int64_t n, float scale)
{
	float *x = malloc(sizeof *x * (size_t)(n + 1));
	for (int64_t i = 0; i < n; i++)
		x[i] = scale * (float)(size_to(2001) - 1001) / 1000;
	return x;
}

static const pai_own *table(int i)
{
	return i ? pai_own_pick() : &pai_own_generic;
}

/* Rounding of a sum of k terms, each at most 1: k eps, and as much again for the end. */
static void check_product(const pai_own *own)
{
	int64_t m = size_to(40), n = size_to(70), k = size_to(size_to(2) > 1 ? 900 : 40);
	bool ta = size_to(2) > 1, tb = size_to(2) > 1;
	float *a = numbers(m * k, 1), *b = numbers(k * n, 1), *bias = numbers(n, 1);
	float *c = numbers(m * n, 1), *old = malloc(sizeof *c * (size_t)(m * n));
	float *scratch = malloc(sizeof *scratch * PAI_GEMM_SCRATCH), *mask = numbers(m * n, 1);
	memcpy(old, c, sizeof *c * (size_t)(m * n));
	pai_product g = {.m = m,
			 .n = n,
			 .k = k,
			 .a = a,
			 .b = b,
			 .c = c,
			 .a_row = ta ? 1 : k,
			 .a_col = ta ? m : 1,
			 .b_row = tb ? 1 : n,
			 .b_col = tb ? k : 1,
			 .c_row = n,
			 .alpha = size_to(2) > 1 ? 1 : 0.5f,
			 .beta = size_to(2) > 1 ? 0 : 0.25f,
			 .bias = size_to(2) > 1 ? bias : NULL,
			 .mask = size_to(3) > 2 ? mask : NULL,
			 .relu = size_to(3) > 2};
	float *packed = malloc(sizeof *packed * (size_t)(k * (n + PAI_GEMM_COLUMNS)));
	if (size_to(3) > 2) {
		own->pack(&g, packed);
		g.packed = packed;
	}
	bool by_rows = size_to(2) > 1;
	int64_t all = by_rows ? m : n, half = by_rows ? all / 2 : all / 2 / 16 * 16;
	own->gemm(&g, by_rows, 0, half, scratch);
	own->gemm(&g, by_rows, half, all, scratch);
	for (int64_t i = 0; i < m; i++)
		for (int64_t j = 0; j < n; j++) {
			double sum = 0;
			for (int64_t q = 0; q < k; q++)
				sum += (double)a[i * g.a_row + q * g.a_col] *
				       (double)b[q * g.b_row + j * g.b_col];
			sum = (double)g.alpha * sum + (double)g.beta * (double)old[i * n + j] +
			      (g.bias ? (double)bias[j] : 0);
			sum = g.relu && sum < 0 ? 0 : sum;
			sum = g.mask && !(mask[i * n + j] > 0) ? 0 : sum;
			assert_true(fabs(sum - (double)c[i * n + j]) <= 2 * (double)(k + 4) * 6e-8);
		}
	float *all_of[] = {a, b, bias, c, old, scratch, mask, packed};
	for (size_t i = 0; i < sizeof all_of / sizeof *all_of; i++)
		free(all_of[i]);
}

static void test_products(void **unused)
{
	(void)unused;
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 300; i++)
			check_product(table(t));
}

static double sigmoid(double x)
{
	return 1 / (1 + exp(-x));
}

static double gelu(double x)
{
	return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}

/* Largest error allowed, relative to the result and absolute. exp: 2 ulp; the others are built on
 * it. erf's middle range has 1.5e-7 absolute by its formula. */
static const struct {
	pai_map_kind kind;
	double (*f)(double);
	float scale;
	double rel, abs;
} maps[] = {
	{PAI_MAP_EXP, exp, 80, 3e-7, 1e-37}, {PAI_MAP_TANH, tanh, 12, 4e-7, 0},
	{PAI_MAP_TANH, tanh, 0.4f, 4e-7, 0}, {PAI_MAP_SIGMOID, sigmoid, 30, 4e-7, 0},
	{PAI_MAP_ERF, erf, 4, 4e-7, 2e-7},   {PAI_MAP_ERF, erf, 1, 4e-7, 2e-7},
	{PAI_MAP_GELU, gelu, 4, 5e-7, 6e-7}, {PAI_MAP_SQRT, sqrt, 0, 1e-7, 0},
	{PAI_MAP_ABS, fabs, 5, 0, 0},
};

static void test_maps(void **unused)
{
	enum { N = 4099 };
	(void)unused;
	float *y = malloc(sizeof *y * N);
	for (int t = 0; t < 2; t++)
		for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
			float *x = numbers(N, maps[i].scale);
			table(t)->map(maps[i].kind, N, x, y, 0, 0);
			for (int k = 0; k < N; k++) {
				double want = maps[i].f((double)x[k]);
				assert_true(fabs((double)y[k] - want) <=
					    maps[i].rel * fabs(want) + maps[i].abs);
			}
			free(x);
		}
	free(y);
}

static void test_special_values(void **unused)
{
	(void)unused;
	const float x[] = {NAN, INFINITY, -INFINITY, 200, -200};
	static const struct {
		pai_map_kind kind;
		float want[5]; /* NaN: NaN */
	} table_of[] = {
		{PAI_MAP_EXP, {NAN, INFINITY, 0, INFINITY, 0}},
		{PAI_MAP_TANH, {NAN, 1, -1, 1, -1}},
		{PAI_MAP_ERF, {NAN, 1, -1, 1, -1}},
		{PAI_MAP_SIGMOID, {NAN, 1, 0, 1, 0}},
		{PAI_MAP_RELU, {NAN, INFINITY, 0, 200, 0}},
	};
	for (int t = 0; t < 2; t++)
		for (size_t i = 0; i < sizeof table_of / sizeof *table_of; i++) {
			float y[5];
			table(t)->map(table_of[i].kind, 5, x, y, 0, 0);
			for (int k = 0; k < 5; k++) {
				float want = table_of[i].want[k];
				if (isnan(want))
					assert_true(isnan(y[k]));
				else
					assert_true(y[k] == want);
			}
		}
}

static void test_transpose_and_sums(void **unused)
{
	(void)unused;
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 200; i++) {
			int64_t rows = size_to(40), cols = size_to(40);
			float *x = numbers(rows * cols, 1), *y = numbers(rows * cols, 1);
			float *sums = numbers(cols, 1);
			table(t)->transpose(rows, cols, x, cols, y, rows);
			table(t)->sum_rows(rows, cols, x, cols, sums);
			for (int64_t c = 0; c < cols; c++) {
				double sum = 0;
				for (int64_t r = 0; r < rows; r++) {
					assert_true(y[c * rows + r] == x[r * cols + c]);
					sum += (double)x[r * cols + c];
				}
				assert_true(fabs(sum - (double)sums[c]) <= 40 * 6e-8 * 40);
			}
			free(x);
			free(y);
			free(sums);
		}
}

/* A sum of many equal numbers, whose roundings do not cancel. */
static void test_long_sums(void **unused)
{
	(void)unused;
	enum { ROWS = 100000, MOST = 70 };
	const int64_t widths[] = {1, 9, MOST};
	float *x = malloc(sizeof *x * ROWS * MOST), sums[MOST], zero[MOST] = {0};
	for (int64_t i = 0; i < (int64_t)ROWS * MOST; i++)
		x[i] = 0.1f;
	for (int t = 0; t < 2; t++)
		for (int k = 0; k < 3; k++)
			for (int of = 0; of < 2; of++) {
				double each = of ? (double)0.1f * (double)0.1f : (double)0.1f;
				if (of)
					table(t)->moments(ROWS, widths[k], x, zero, NULL, sums);
				else
					table(t)->sum_rows(ROWS, widths[k], x, widths[k], sums);
				for (int64_t c = 0; c < widths[k]; c++)
					assert_true(fabs((double)sums[c] / (ROWS * each) - 1) <
						    3e-6);
			}
	free(x);
}

/* The largest of a window inside the image, NaN if one is there. */
static float window_max(const pai_pool *w, const float *image, int64_t p, int64_t q, int64_t c)
{
	float best = -INFINITY;
	for (int64_t i = 0; i < w->kernel_h; i++)
		for (int64_t j = 0; j < w->kernel_w; j++) {
			int64_t r = p * w->stride_h - w->pad_h + i * w->dilation_h;
			int64_t s = q * w->stride_w - w->pad_w + j * w->dilation_w;
			if (r < 0 || r >= w->in_h || s < 0 || s >= w->in_w)
				continue;
			float x = image[(r * w->in_w + s) * w->channels + c];
			best = isnan(x) || isnan(best) ? NAN : x > best ? x : best;
		}
	return best;
}

static void check_max_pool(const pai_own *own)
{
	pai_pool w = {.batch = 2,
		      .channels = size_to(20),
		      .out_h = size_to(5),
		      .out_w = size_to(5),
		      .kernel_h = size_to(3),
		      .kernel_w = size_to(3),
		      .stride_h = size_to(3),
		      .stride_w = size_to(3),
		      .dilation_h = size_to(2),
		      .dilation_w = size_to(2)};
	w.pad_h = size_to(w.kernel_h) - 1;
	w.pad_w = size_to(w.kernel_w) - 1;
	/* the last window may lie over the end as well */
	w.in_h = (w.out_h - 1) * w.stride_h + size_to((w.kernel_h - 1) * w.dilation_h + 1);
	w.in_w = (w.out_w - 1) * w.stride_w + size_to((w.kernel_w - 1) * w.dilation_w + 1);
	int64_t image = w.in_h * w.in_w * w.channels, grid = w.out_h * w.out_w * w.channels;
	float *x = numbers(2 * image, 1), *y = numbers(2 * grid, 1);
	for (int64_t i = 0; i < image / 9; i++)
		x[size_to(2 * image) - 1] = NAN;
	own->max_pool(&w, 0, 1, x, y);
	own->max_pool(&w, 1, 2, x, y);
	for (int64_t i = 0; i < 2 * grid; i++) {
		int64_t c = i % w.channels, at = i % grid / w.channels;
		float want = window_max(&w, x + i / grid * image, at / w.out_w, at % w.out_w, c);
		assert_true(isnan(want) ? isnan(y[i]) : y[i] == want);
	}
	free(x);
	free(y);
}

static void test_max_pools(void **unused)
{
	(void)unused;
	for (int t = 0; t < 2; t++)
		for (int i = 0; i < 300; i++)
			check_max_pool(table(t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_products),
		cmocka_unit_test(test_max_pools),
		cmocka_unit_test(test_maps),
		cmocka_unit_test(test_special_values),
		cmocka_unit_test(test_transpose_and_sums),
		cmocka_unit_test(test_long_sums),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
