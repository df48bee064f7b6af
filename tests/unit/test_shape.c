/* test_shape.c -- types, shapes and small contents of text models, and the errors of wrong ones. */
#include "compiler/compiler.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct row {
	const char *name;
	int opset;
	const char *graph; /* inputs, outputs and body in textual syntax */
	const char *want;  /* "y float[2]; z int64[1] {3}", or "E0701 part of the message" */
} row;

static const char *contents_text(pai_ctx *ctx, pai_arena *a, const pai_value *v)
{
	const char *text = "";
	for (int i = 0; i < v->n_known; i++)
		text = pai_arena_printf(a, "%s%s%s", text, i ? "," : "",
					pai_dim_text(ctx, v->known_dims[i]));
	return v->known_dims ? pai_arena_printf(a, " {%s}", text) : "";
}

/* What was inferred of the graph's outputs. */
static const char *outputs_text(pai_ctx *ctx, pai_arena *a, const pai_model *m)
{
	const char *text = "";
	for (int i = 0; i < m->graph->outputs.n; i++) {
		const pai_value *v = m->graph->outputs.at[i];
		text = pai_arena_printf(a, "%s%s%s %s%s", text, i ? "; " : "", v->name,
					pai_type_text(ctx, a, &v->type), contents_text(ctx, a, v));
	}
	return text;
}

static pai_model *parse(pai_ctx *ctx, const char *name, int opset, const char *graph)
{
	pai_model *m = NULL;
	pai_arena *a = pai_arena_new(ctx);
	const char *text =
		pai_arena_printf(a,
				 "<ir_version: 10, opset_import: [\"\" : %d, \"local\" : 1, "
				 "\"com.microsoft\" : 1, \"ai.onnx.ml\" : 1]>\n%s",
				 opset, graph);
	pai_status status = pai_text_parse(ctx, name, pai_arena_strdup(a, text), strlen(text), &m);
	if (status != PAI_OK)
		print_error("%s: %s\n", name, pai_diag_get(ctx, 0)->text);
	assert_int_equal(status, PAI_OK);
	pai_arena_free(a);
	return m;
}

static bool check(const row *r)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, r->name, r->opset, r->graph);
	pai_arena *a = pai_arena_new(ctx);
	pai_status status = pai_infer(m);
	const char *got = "";
	if (status == PAI_OK)
		got = outputs_text(ctx, a, m);
	else if (pai_diag_count(ctx) > 0)
		got = pai_arena_printf(a, "E%04d %s: %s", pai_diag_get(ctx, 0)->code,
				       pai_diag_get(ctx, 0)->where, pai_diag_get(ctx, 0)->text);
	const bool error = r->want[0] == 'E' && strlen(r->want) > 6;
	const bool fit = error ? status != PAI_OK && strncmp(got, r->want, 5) == 0 &&
					 strstr(got, r->want + 6)
			       : strcmp(got, r->want) == 0;
	if (!fit)
		print_error("%s: want %s\n  got %s\n", r->name, r->want, got);
	if (status == PAI_OK && fit) { /* a second time gives the same */
		assert_int_equal(pai_infer(m), PAI_OK);
		assert_string_equal(outputs_text(ctx, a, m), got);
		assert_int_equal(pai_verify(m), PAI_OK);
	}
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
	return fit;
}

static void check_rows(const row *rows, size_t n)
{
	int wrong = 0;
	for (size_t i = 0; i < n; i++)
		wrong += !check(&rows[i]);
	assert_int_equal(wrong, 0);
}

static void test_dims(void **state)
{
	(void)state;
	pai_ctx *c = pai_ctx_new(NULL);
	pai_dim n = pai_dim_symbol(c, "N"), m = pai_dim_symbol(c, "M"), v;
	assert_int_equal(n, pai_dim_symbol(c, "N"));
	assert_true(pai_dim_equal(pai_dim_add(c, n, m), pai_dim_add(c, m, n)));
	assert_int_equal(pai_dim_sub(c, pai_dim_add(c, n, 3), n), 3);
	assert_string_equal(pai_dim_text(c, pai_dim_add(c, pai_dim_mul(c, n, 2), 1)), "2*N+1");
	v = pai_dim_mul(c, pai_dim_add(c, n, 1), pai_dim_sub(c, n, 1));
	assert_string_equal(pai_dim_text(c, v), "N*N-1");
	assert_true(
		pai_dim_equal(pai_dim_div_dim(c, v, pai_dim_add(c, n, 1)), pai_dim_sub(c, n, 1)));
	assert_int_equal(pai_dim_div_dim(c, v, m), PAI_DIM_UNKNOWN);
	assert_true(pai_dim_equal(pai_dim_div(c, pai_dim_mul(c, n, 6), 3), pai_dim_mul(c, n, 2)));
	v = pai_dim_div(c, pai_dim_add(c, n, 3), 2);
	assert_string_equal(pai_dim_text(c, v), "floor((N+1)/2)+1");
	assert_true(pai_dim_equal(pai_dim_div(c, pai_dim_div(c, n, 2), 3), pai_dim_div(c, n, 6)));
	assert_true(pai_dim_equal(pai_dim_div(c, v, 2), pai_dim_div(c, pai_dim_add(c, n, 3), 4)));
	assert_int_equal(pai_dim_add(c, INT64_MAX, 1), PAI_DIM_UNKNOWN);
	assert_int_equal(pai_dim_mul(c, INT64_MAX, n) == PAI_DIM_UNKNOWN, 0);
	assert_int_equal(pai_dim_mul(c, pai_dim_mul(c, INT64_MAX, n), 2), PAI_DIM_UNKNOWN);
	assert_int_equal(pai_dim_add(c, PAI_DIM_UNKNOWN, 1), PAI_DIM_UNKNOWN);
	assert_false(pai_dim_equal(PAI_DIM_UNKNOWN, PAI_DIM_UNKNOWN));
	assert_string_equal(pai_dim_text(c, pai_dim_int(c, -1)), "-1");
	assert_true(pai_dim_const(c, pai_dim_int(c, -7), &v) && v == -7);
	assert_true(pai_dim_at_least(c, pai_dim_add(c, n, 2), 3));
	assert_false(pai_dim_at_least(c, pai_dim_sub(c, n, 2), 0));
	for (int i = 0; i < 20; i++) /* growth ends in unknown */
		n = pai_dim_mul(c, n, pai_dim_add(c, n, 1));
	assert_int_equal(n, PAI_DIM_UNKNOWN);
	pai_ctx_free(c);
}

static void test_elementwise(void **state)
{
	static const row rows[] = {
		{"same", 21, "g (float[N,3] x) => (y) { y = Relu(x) }", "y float[N,3]"},
		{"unknown rank", 21, "g (float[] x) => (y) { y = Relu(x) }", "y float[]"},
		{"broadcast", 21, "g (float[N,1,3] x, float[4,1] z) => (y) { y = Add(x, z) }",
		 "y float[N,4,3]"},
		{"number beats symbol", 21, "g (float[N] x, float[3] z) => (y) { y = Mul(x, z) }",
		 "y float[3]"},
		{"two symbols", 21, "g (float[N] x, float[M] z) => (y) { y = Mul(x, z) }",
		 "y float[?]"},
		{"no fit", 21, "g (float[2] x, float[3] z) => (y) { y = Mul(x, z) }",
		 "E0703 input 1 \"z\": float[3] does not broadcast with float[2] of input 0"},
		{"compare", 21, "g (float[N] x) => (y) { y = Equal(x, x) }", "y bool[N]"},
		{"where", 21, "g (bool[4,1] c, float[3] x, float z) => (y) { y = Where(c, x, z) }",
		 "y float[4,3]"},
		{"sum of three", 21,
		 "g (float[4,1] a, float[3] b, float[1] c) => (y) { y = Sum(a, b, c) }",
		 "y float[4,3]"},
		{"old broadcast", 6,
		 "g (float[2,3,4] a, float[3] b) => (y) { y = Add <broadcast = 1, axis = 1> (a, b) "
		 "}",
		 "y float[2,3,4]"},
		{"cast", 21, "g (float[N] x) => (y) { y = Cast <to = 7> (x) }", "y int64[N]"},
		{"cast to nothing", 21, "g (float[N] x) => (y) { y = Cast <to = 99> (x) }",
		 "E0702 99 is no element type"},
		{"cast like", 21, "g (float[N] x, int32[1] t) => (y) { y = CastLike(x, t) }",
		 "y int32[N]"},
		{"dropout", 13, "g (float[N,3] x) => (y, m) { y, m = Dropout(x) }",
		 "y float[N,3]; m bool[N,3]"},
		{"random like", 21,
		 "g (float[N,3] x) => (y) { y = RandomUniformLike <dtype = 11> (x) }",
		 "y double[N,3]"},
		{"unknown operator", 21,
		 "g (float[N,3] x) => (float[] y) { z = local.Mystery(x) "
		 "y = Relu(z) }",
		 "y float[]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_linear(void **state)
{
	static const row rows[] = {
		{"matmul", 21, "g (float[N,2,3] a, float[3,4] b) => (y) { y = MatMul(a, b) }",
		 "y float[N,2,4]"},
		{"matmul of vectors", 21, "g (float[3] a, float[3] b) => (y) { y = MatMul(a, b) }",
		 "y float"},
		{"matmul row", 21, "g (float[3] a, float[5,3,4] b) => (y) { y = MatMul(a, b) }",
		 "y float[5,4]"},
		{"matmul no fit", 21, "g (float[2,3] a, float[4,5] b) => (y) { y = MatMul(a, b) }",
		 "E0703 input 1 \"b\": is float[4,5], does not fit float[2,3] of input 0"},
		{"gemm", 13,
		 "g (float[3,N] a, float[4,3] b, float[4] c) => (y) "
		 "{ y = Gemm <transA = 1, transB = 1> (a, b, c) }",
		 "y float[N,4]"},
		{"gemm bias", 13,
		 "g (float[2,3] a, float[3,4] b, float[3] c) => (y) "
		 "{ y = Gemm(a, b, c) }",
		 "E0703 input 2 \"c\": is float[3], does not broadcast to [2,4]"},
		{"gemm rank", 13, "g (float[3] a, float[3,4] b) => (y) { y = Gemm(a, b) }",
		 "E0701 is float[3], needs rank 2"},
		{"conv", 11,
		 "g (float[N,3,H,224] x, float[64,3,7,7] w) => (y) "
		 "{ y = Conv <strides = [2, 2], pads = [3, 3, 3, 3]> (x, w) }",
		 "y float[N,64,floor((H+1)/2),112]"},
		{"conv same", 11,
		 "g (float[N,3,9] x, float[4,3,3] w) => (y) "
		 "{ y = Conv <strides = [2], auto_pad = \"SAME_UPPER\"> (x, w) }",
		 "y float[N,4,5]"},
		{"conv valid, dilated, grouped", 11,
		 "g (float[1,4,9] x, float[6,2,3] w) => (y) "
		 "{ y = Conv <dilations = [2], group = 2, auto_pad = \"VALID\"> (x, w) }",
		 "y float[1,6,5]"},
		{"conv channels", 11,
		 "g (float[1,4,9] x, float[6,3,3] w) => (y) { y = Conv(x, w) }",
		 "E0703 input 1 \"w\": is float[6,3,3]: takes 3 channels with group 1, input 0 has "
		 "4"},
		{"conv pads", 11,
		 "g (float[1,3,9,9] x, float[6,3,3,3] w) => (y) "
		 "{ y = Conv <pads = [1, 1, 1]> (x, w) }",
		 "E0702 attribute \"pads\": needs 4 values, has 3"},
		{"conv stride 0", 11,
		 "g (float[1,3,9] x, float[6,3,3] w) => (y) "
		 "{ y = Conv <strides = [0]> (x, w) }",
		 "E0702 attribute \"strides\": value 0 is 0"},
		{"conv group 0", 11,
		 "g (float[1,3,9] x, float[6,3,3] w) => (y) "
		 "{ y = Conv <group = 0> (x, w) }",
		 "E0702 attribute \"group\": is 0, must be at least 1"},
		{"conv least pad", 11,
		 "g (float[1,3,9] x, float[6,3,3] w) => (y) "
		 "{ y = Conv <pads = [-9223372036854775807, 0]> (x, w) }",
		 "E0702 attribute \"pads\": value 0 is"},
		{"conv kernel too large", 11,
		 "g (float[1,3,4] x, float[6,3,7] w) => (y) "
		 "{ y = Conv <pads = [1, 1]> (x, w) }",
		 "E0703 the window spans 7 elements of axis 2, which has 6 with padding"},
		{"conv rank", 11, "g (float[1,3,4] x, float[6,3,1,1] w) => (y) { y = Conv(x, w) }",
		 "E0701 has rank 4, input 0 has rank 3"},
		{"conv transpose", 11,
		 "g (float[N,3,5,H] x, float[3,4,3,3] w) => (y) "
		 "{ y = ConvTranspose <strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, "
		 "1]> (x, w) }",
		 "y float[N,4,10,2*H]"},
		{"conv transpose grouped, given", 11,
		 "g (float[N,4,5] x, float[4,3,3] w) => (y) "
		 "{ y = ConvTranspose <group = 2, strides = [3], output_shape = [16]> (x, w) }",
		 "y float[N,6,16]"},
		{"max pool", 12,
		 "g (float[N,3,H,9] x) => (y, i) "
		 "{ y, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) }",
		 "y float[N,3,floor(H/2),4]; i int64[N,3,floor(H/2),4]"},
		{"pool ceil", 12,
		 "g (float[1,1,4,5] x) => (y) "
		 "{ y = MaxPool <kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1> (x) }",
		 "y float[1,1,2,3]"},
		{"pool ceil drops what starts in padding", 19,
		 "g (float[1,1,2] x) => (y) "
		 "{ y = AveragePool <kernel_shape = [1], strides = [2], ceil_mode = 1, pads = [0, "
		 "1]> (x) }",
		 "y float[1,1,1]"},
		{"pool without kernel", 12,
		 "g (float[1,3,9] x) => (y) "
		 "{ y = MaxPool <kernel_shape = [0]> (x) }",
		 "E0702 attribute \"kernel_shape\": value 0 is 0"},
		{"global pool", 1, "g (float[N,3,H,W] x) => (y) { y = GlobalAveragePool(x) }",
		 "y float[N,3,1,1]"},
		{"batch normalisation", 15,
		 "g (float[N,3,4] x, float[3] s, float[3] b, float[3] m, float[3] v)"
		 " => (y, rm, rv) { y, rm, rv = BatchNormalization <training_mode = 1> (x, s, b, "
		 "m, v) }",
		 "y float[N,3,4]; rm float[3]; rv float[3]"},
		{"batch normalisation no fit", 15,
		 "g (float[N,3,4] x, float[3] s, float[3] b, float[3] m, "
		 "float[4] v) => (y) { y = BatchNormalization(x, s, b, m, v) }",
		 "E0703 input 4 \"v\": has 4 elements, needs one for each of the 3 channels"},
		{"loss", 13,
		 "g (float[N,C,8] x, int64[N,8] t) => (l, p) "
		 "{ l, p = SoftmaxCrossEntropyLoss(x, t) }",
		 "l float; p float[N,C,8]"},
		{"loss of each", 13,
		 "g (float[N,C] x, int64[N] t) => (l) "
		 "{ l = SoftmaxCrossEntropyLoss <reduction = \"none\"> (x, t) }",
		 "l float[N]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_move(void **state)
{
	static const row rows[] = {
		{"flatten", 13, "g (float[N,3,4,5] x) => (y) { y = Flatten(x) }", "y float[N,60]"},
		{"flatten axis", 13, "g (float[N,3] x) => (y) { y = Flatten <axis = 5> (x) }",
		 "E0705 is 5, must be in [-2, 2]"},
		{"reshape", 14,
		 "g (float[N,3,4] x) => (y) <int64[2] s = {0, -1}> { y = Reshape(x, s) }",
		 "y float[N,12]"},
		{"reshape of unknown batch", 14,
		 "g (float[?,3,4] x) => (y) <int64[2] s = {0, -1}> "
		 "{ y = Reshape(x, s) }",
		 "y float[?,12]"},
		{"reshape symbolic rest", 14,
		 "g (float[N,3,4] x) => (y) <int64[2] s = {-1, 6}> "
		 "{ y = Reshape(x, s) }",
		 "y float[2*N,6]"},
		{"reshape no fit", 14,
		 "g (float[2,3] x) => (y) <int64[2] s = {4, 2}> { y = Reshape(x, s) }",
		 "E0703 is float[2,3], its 6 elements do not fit a target of 8"},
		{"reshape no multiple", 14,
		 "g (float[2,3] x) => (y) <int64[2] s = {4, -1}> "
		 "{ y = Reshape(x, s) }",
		 "E0703 a target of a multiple of 4"},
		{"reshape two rests", 14,
		 "g (float[2,3] x) => (y) <int64[2] s = {-1, -1}> "
		 "{ y = Reshape(x, s) }",
		 "E0707 holds -1 more than once"},
		{"reshape allowzero", 14,
		 "g (float[0,3] x) => (y) <int64[2] s = {3, 0}> "
		 "{ y = Reshape <allowzero = 1> (x, s) }",
		 "y float[3,0]"},
		{"reshape to what is not known", 14,
		 "g (float[2,3] x, int64[3] s) => (y) { y = Reshape(x, s) }", "y float[?,?,?]"},
		{"transpose", 13,
		 "g (float[N,3,4] x) => (y) { y = Transpose <perm = [0, 2, 1]> (x) }",
		 "y float[N,4,3]"},
		{"transpose reversed", 13, "g (float[N,3,4] x) => (y) { y = Transpose(x) }",
		 "y float[4,3,N]"},
		{"transpose twice", 13,
		 "g (float[N,3,4] x) => (y) { y = Transpose <perm = [0, 1, 1]> (x) }",
		 "E0702 attribute \"perm\": is no permutation of 0 to 2"},
		{"squeeze", 13,
		 "g (float[N,1,4] x) => (y) <int64[1] a = {-2}> { y = Squeeze(x, a) }",
		 "y float[N,4]"},
		{"squeeze attribute", 11,
		 "g (float[N,1,4] x) => (y) { y = Squeeze <axes = [1]> (x) }", "y float[N,4]"},
		{"squeeze all", 13, "g (float[1,3,1] x) => (y) { y = Squeeze(x) }", "y float[3]"},
		{"squeeze all that may be", 13, "g (float[N,3,1] x) => (y) { y = Squeeze(x) }",
		 "y float[]"},
		{"squeeze 3", 13,
		 "g (float[1,3,1] x) => (y) <int64[1] a = {1}> { y = Squeeze(x, a) }",
		 "E0705 is float[1,3,1], axis 1 is not of size 1"},
		{"unsqueeze", 13,
		 "g (float[N,4] x) => (y) <int64[2] a = {0, -1}> { y = Unsqueeze(x, a) }",
		 "y float[1,N,4,1]"},
		{"unsqueeze twice", 13,
		 "g (float[N,4] x) => (y) <int64[2] a = {0, -4}> { y = Unsqueeze(x, a) }",
		 "E0705 axis 0 is named twice"},
		{"concat", 13,
		 "g (float[N,3] a, float[N,4] b, float[N,M] c) => (y) "
		 "{ y = Concat <axis = -1> (a, b, c) }",
		 "y float[N,M+7]"},
		{"concat no fit", 13,
		 "g (float[2,3] a, float[3,4] b) => (y) { y = Concat <axis = 1> (a, b) }",
		 "E0703 input 1 \"b\": is float[3,4], differs beside axis 1 from float[2,3] of "
		 "input 0"},
		{"split", 13,
		 "g (float[N,7] x) => (a, b) <int64[2] s = {3, 4}> "
		 "{ a, b = Split <axis = 1> (x, s) }",
		 "a float[N,3]; b float[N,4]"},
		{"split equal", 11, "g (float[4,N] x) => (a, b) { a, b = Split(x) }",
		 "a float[2,N]; b float[2,N]"},
		{"split uneven", 18,
		 "g (float[7] x) => (a, b, c) { a, b, c = Split <num_outputs = 3> (x) }",
		 "a float[3]; b float[3]; c float[1]"},
		{"split no fit", 13,
		 "g (float[N,7] x) => (a, b) <int64[2] s = {3, 3}> "
		 "{ a, b = Split <axis = 1> (x, s) }",
		 "E0703 has 7 elements along the axis, the parts have 6"},
		{"slice", 13,
		 "g (float[N,7,9] x) => (y) <int64[2] s = {1, -3}, int64[2] e = {100, -1}, "
		 "int64[2] a = {1, 2}> { y = Slice(x, s, e, a) }",
		 "y float[N,6,2]"},
		{"slice backwards", 13,
		 "g (float[7,N] x) => (y) <int64[2] s = {-1, -1}, "
		 "int64[2] e = {-9223372036854775807, -9223372036854775807}, int64[2] a = {0, 1}, "
		 "int64[2] t = {-2, -1}> { y = Slice(x, s, e, a, t) }",
		 "y float[4,N]"},
		{"slice attribute", 9,
		 "g (float[N,7] x) => (y) { y = Slice <axes = [1], starts = [2], "
		 "ends = [5]> (x) }",
		 "y float[N,3]"},
		{"slice of a free axis", 13,
		 "g (float[N,7] x) => (a, b, c) <int64[1] o = {1}, int64[1] z = {0}, "
		 "int64[1] m = {-1}, int64[1] e = {9223372036854775807}> "
		 "{ a = Slice(x, o, e, z) b = Slice(x, z, m, z) c = Slice(x, m, e, z) }",
		 "a float[N-1,7]; b float[N-1,7]; c float[1,7]"},
		{"slice backwards from before the first", 13,
		 "g (float[7,N] x) => (y) <int64[2] s = {-9, -2147483648}, int64[2] e = {-9, -9}, "
		 "int64[2] t = {-1, -1}, int64[2] a = {0, 1}> { y = Slice(x, s, e, a, t) }",
		 "y float[1,?]"},
		{"resize of a crop", 13,
		 "g (float[10] x) => (y) <float[2] r = {0.2, 0.7}, float[1] c = {2}> "
		 "{ y = Resize <coordinate_transformation_mode = \"tf_crop_and_resize\"> (x, r, c) "
		 "}",
		 "y float[?]"},
		{"slice step 0", 13,
		 "g (float[7] x) => (y) <int64[1] s = {0}, int64[1] e = {5}, "
		 "int64[1] a = {0}> { y = Slice(x, s, e, a, s) }",
		 "E0707 step 0 is 0"},
		{"gather", 13,
		 "g (float[N,7,9] x, int64[2,M] i) => (y) { y = Gather <axis = 1> (x, i) }",
		 "y float[N,2,M,9]"},
		{"gather axis", 13,
		 "g (float[N,7] x, int64[2] i) => (y) { y = Gather <axis = 2> (x, i) }",
		 "E0705 axis is 2, must be in [-2, 1]"},
		{"expand", 13,
		 "g (float[3,1] x) => (y) <int64[3] s = {2, 1, 6}> { y = Expand(x, s) }",
		 "y float[2,3,6]"},
		{"pad", 13,
		 "g (float[N,3,4] x) => (y) <int64[6] p = {0, 1, 0, 0, 2, -1}> { y = Pad(x, p) }",
		 "y float[N,6,3]"},
		{"pad axes", 18,
		 "g (float[N,3,4] x) => (y) <int64[2] p = {1, 2}, int64[1] a = {-1}> "
		 "{ y = Pad(x, p, , a) }",
		 "y float[N,3,7]"},
		{"pad length", 11,
		 "g (float[N,3,4] x) => (y) <int64[4] p = {0, 1, 0, 0}> { y = Pad(x, p) }",
		 "E0707 pads: needs 6 values, has 4"},
		{"tile", 13, "g (float[N,3] x) => (y) <int64[2] r = {2, 3}> { y = Tile(x, r) }",
		 "y float[2*N,9]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_make(void **state)
{
	static const row rows[] = {
		{"shape", 15, "g (float[N,3,4] x) => (y) { y = Shape(x) }", "y int64[3] {N,3,4}"},
		{"shape part", 15, "g (float[N,3,4] x) => (y) { y = Shape <start = -2> (x) }",
		 "y int64[2] {3,4}"},
		{"size", 13, "g (float[N,3,4] x) => (y) { y = Size(x) }", "y int64 {12*N}"},
		{"constant", 13,
		 "g () => (a, b) { a = Constant <value_ints = [1, -2]> () "
		 "b = Constant <value_float = 1.5> () }",
		 "a int64[2] {1,-2}; b float"},
		{"constant of shape", 9,
		 "g () => (y) <int64[2] s = {2, 3}> { y = ConstantOfShape(s) }", "y float[2,3]"},
		{"constant of shape, contents", 9,
		 "g () => (y) <int64[1] s = {2}> "
		 "{ y = ConstantOfShape <value = int64[1] {7}> (s) }",
		 "y int64[2] {7,7}"},
		{"range", 11,
		 "g () => (y) <int64 a = {1}, int64 b = {8}, int64 c = {3}> { y = Range(a, b, c) }",
		 "y int64[3] {1,4,7}"},
		{"range of a size", 11,
		 "g (float[N,2] x) => (y) <int64 a = {0}, int64 c = {1}, int64 i = {0}> "
		 "{ s = Shape(x) n = Gather(s, i) y = Range(a, n, c) }",
		 "y int64[N]"},
		{"reduce", 18,
		 "g (float[N,3,4] x) => (y) <int64[1] a = {-1}> { y = ReduceMean(x, a) }",
		 "y float[N,3,1]"},
		{"reduce attribute", 11,
		 "g (float[N,3,4] x) => (y) { y = ReduceMean <axes = [1, 2], keepdims = 0> "
		 "(x) }",
		 "y float[N]"},
		{"reduce all", 13, "g (float[N,3] x) => (y) { y = ReduceSum <keepdims = 0> (x) }",
		 "y float"},
		{"reduce nothing", 13,
		 "g (float[N,3] x) => (y) { y = ReduceSum <noop_with_empty_axes = 1> (x) }",
		 "y float[N,3]"},
		{"reduce what is not known", 18,
		 "g (float[N,3] x, int64[1] a) => (y, z) { y = ReduceMax(x, a) "
		 "z = ReduceMax <keepdims = 0> (x, a) }",
		 "y float[?,?]; z float[?]"},
		{"argmax", 13,
		 "g (float[N,3] x) => (y) { y = ArgMax <axis = 1, keepdims = 0> (x) }",
		 "y int64[N]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_index(void **state)
{
	static const row rows[] = {
		{"gather elements", 13,
		 "g (float[N,7] x, int64[2,M] i) => (y) { y = GatherElements(x, i) }",
		 "y float[2,M]"},
		{"gather nd", 12,
		 "g (float[B,5,6,7] x, int64[B,9,2] i) => (y) "
		 "{ y = GatherND <batch_dims = 1> (x, i) }",
		 "y float[B,9,7]"},
		{"gather nd, too deep", 12,
		 "g (float[5,6] x, int64[9,3] i) => (y) { y = GatherND(x, i) }",
		 "E0703 is int64[9,3], indexes more axes than float[5,6] has"},
		{"one hot", 11,
		 "g (int64[N,M] i, float[2] v) => (y) <int64 d = {10}> "
		 "{ y = OneHot <axis = 1> (i, d, v) }",
		 "y float[N,10,M]"},
		{"top k", 11,
		 "g (float[N,10] x) => (v, i) <int64[1] k = {3}> { v, i = TopK(x, k) }",
		 "v float[N,3]; i int64[N,3]"},
		{"top k of fewer", 11,
		 "g (float[N,2] x) => (v, i) <int64[1] k = {3}> { v, i = TopK(x, k) }",
		 "E0707 k is 3, the axis has 2 elements"},
		{"non zero", 13, "g (float[N,10] x) => (y) { y = NonZero(x) }", "y int64[2,?]"},
		{"resize by scales", 13,
		 "g (float[N,3,H,5] x) => (y) <float[4] s = {1, 1, 2, 1.5}> "
		 "{ y = Resize(x, , s) }",
		 "y float[N,3,2*H,7]"},
		{"resize to sizes", 13,
		 "g (float[N,3,H,W] x) => (y) <int64[4] s = {1, 3, 8, 9}> "
		 "{ y = Resize(x, , , s) }",
		 "y float[1,3,8,9]"},
		{"upsample", 9,
		 "g (float[N,3,4,5] x) => (y) <float[4] s = {1, 1, 2, 2}> "
		 "{ y = Upsample(x, s) }",
		 "y float[N,3,8,10]"},
		{"depth to space", 13,
		 "g (float[N,12,H,5] x) => (y) { y = DepthToSpace <blocksize = 2> (x) }",
		 "y float[N,3,2*H,10]"},
		{"space to depth", 13,
		 "g (float[N,3,5,4] x) => (y) { y = SpaceToDepth <blocksize = 2> (x) }",
		 "E0703 has 5 elements along axis 2, no multiple of 2"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

#define TEN "1,1,1,1,1,1,1,1,1,1"
#define ONES TEN "," TEN "," TEN "," TEN "," TEN "," TEN /* 60 */

static void test_sequence(void **state)
{
	static const row rows[] = {
		{"lstm", 14,
		 "g (float[S,B,3] x, float[2,20,3] w, float[2,20,5] r) => (y, h, c) "
		 "{ y, h, c = LSTM <hidden_size = 5, direction = \"bidirectional\"> (x, w, r) }",
		 "y float[S,2,B,5]; h float[2,B,5]; c float[2,B,5]"},
		{"gru, batch first", 14,
		 "g (float[B,S,3] x, float[1,15,3] w, float[1,15,5] r) => (y, h) "
		 "{ y, h = GRU <hidden_size = 5, layout = 1> (x, w, r) }",
		 "y float[B,S,1,5]; h float[B,1,5]"},
		{"gru of another batch", 14,
		 "g (float[S,2,3] x, float[1,15,3] w, float[1,15,5] r, float[1,1,5] h0) => (y) "
		 "{ y = GRU <hidden_size = 5> (x, w, r, , , h0) }",
		 "E0703 is float[1,1,5], does not fit the batch and the weights"},
		{"quantised lstm", 17,
		 "g (float[S,B,3] x, int8[1,3,20] w, int8[1,5,20] r, float[1] s, int8[1] z) => (y) "
		 "{ y = com.microsoft.DynamicQuantizeLSTM <hidden_size = 5> "
		 "(x, w, r, , , , , , s, z, s, z) }",
		 "y float[S,1,B,5]"},
		{"quantised gemm", 17,
		 "g (uint8[N,3] a, float s, uint8 z, int8[5,3] b, int8 z8) => (y) "
		 "{ y = com.microsoft.QGemm <transB = 1> (a, s, z, b, s, z8) }",
		 "y float[N,5]"},
		{"svm", 17,
		 "g (float[N,3] x) => (y, p) { y, p = ai.onnx.ml.SVMClassifier "
		 "<classlabels_strings = [\"a\", \"b\"]> (x) }",
		 "y string[N]; p float[N,?]"},
		{"features", 17,
		 "g (float[N,3] x, int64[K] i) => (y) { y = ai.onnx.ml.ArrayFeatureExtractor (x, "
		 "i) }",
		 "y float[N,K]"},
		{"affine grid", 20,
		 "g (float[N,2,3] t) => (y) <int64[4] s = {7, 3, 4, 5}> { y = AffineGrid (t, s) }",
		 "y float[7,4,5,2]"},
		{"multinomial", 17,
		 "g (float[N,3] x) => (y) { y = Multinomial <sample_size = 4, dtype = 7> (x) }",
		 "y int64[N,4]"},
		{"attention", 23,
		 "g (float[B,S,64] q, float[B,T,32] k, float[B,T,32] v) => (y) "
		 "{ y = Attention <q_num_heads = 8, kv_num_heads = 4> (q, k, v) }",
		 "y float[B,S,64]"},
		{"einsum", 12,
		 "g (float[B,2,3] a, float[B,3,N] b) => (y, z) "
		 "{ y = Einsum <equation = \"bij,bjk->bik\"> (a, b) z = Einsum <equation = "
		 "\"...ij->...ji\"> (a) }",
		 "y float[B,2,N]; z float[B,3,2]"},
		{"einsum of no fit", 12,
		 "g (float[2,3] a, float[4,5] b) => (y) "
		 "{ y = Einsum <equation = \"ij,jk->ik\"> (a, b) }",
		 "E0702 gives one letter two sizes"},
		{"einsum of a spare scalar", 12,
		 "g (float[3] a, float b) => (y) { y = Einsum <equation = \"i->i\"> (a, b) }",
		 "E0702 has fewer terms than the node has inputs"},
		{"einsum that repeats", 12,
		 "g (float[3] a) => (y) { y = Einsum <equation = \"i->ii\"> (a) }",
		 "E0702 has a letter twice on the right"},
		{"einsum of two ellipses", 12,
		 "g (float[3] a) => (y) { y = Einsum <equation = \"...->......\"> (a) }",
		 "E0702 has a character that is no letter"},
		{"einsum of many labels", 12,
		 "g (float[" ONES "] a, float[1,1,1,1,1] b) => (y) "
		 "{ y = Einsum <equation = \"...,abcde\"> (a, b) }",
		 "E0702 has a result of too many dimensions"},
		{"einsum of many labels on the right", 12,
		 "g (float[" ONES "] a, float[1,1,1,1,1] b) => (y) "
		 "{ y = Einsum <equation = \"...,abcde->abcde...\"> (a, b) }",
		 "E0702 has a result of too many dimensions"},
		{"sequence", 11,
		 "g (float[N,3] a, float[M,3] b) => (y, n) <int64 i = {0}> "
		 "{ s = SequenceConstruct(a, b) y = SequenceAt(s, i) n = SequenceLength(s) }",
		 "y float[?,3]; n int64"},
		{"element of what is no optional", 18,
		 "g (seq(float[N,3]) x) => (y) { y = OptionalGetElement(x) }", "y seq(float[N,3])"},
		{"split and join", 11,
		 "g (float[6,N] a) => (y) { s = SplitToSequence <axis = 0> (a) "
		 "y = ConcatFromSequence <axis = 1> (s) }",
		 "y float[1,?]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_quant(void **state)
{
	static const row rows[] = {
		{"quantize", 13, "g (float[N,3] x, float s) => (y) { y = QuantizeLinear(x, s) }",
		 "y uint8[N,3]"},
		{"quantize to int8", 13,
		 "g (float[N,3] x, float[3] s, int8[3] z) => (y) "
		 "{ y = QuantizeLinear(x, s, z) }",
		 "y int8[N,3]"},
		{"quantize to int4", 21,
		 "g (float[N,3] x, float s) => (y) "
		 "{ y = QuantizeLinear <output_dtype = 22> (x, s) }",
		 "y int4[N,3]"},
		{"quantize no fit", 13,
		 "g (float[N,3] x, float[4] s) => (y) { y = QuantizeLinear(x, s) }",
		 "E0703 is float[4], does not fit float[N,3]: needs one for each index of the "
		 "axis"},
		{"dequantize", 21,
		 "g (uint8[N,3] x, float16 s) => (y) { y = DequantizeLinear(x, s) }",
		 "y float16[N,3]"},
		{"dequantize blocks", 21,
		 "g (int4[6,3] x, float[3,3] s) => (y) "
		 "{ y = DequantizeLinear <axis = 0, block_size = 2> (x, s) }",
		 "y float[6,3]"},
		{"dequantize blocks no fit", 21,
		 "g (int4[6,3] x, float[2,3] s) => (y) "
		 "{ y = DequantizeLinear <axis = 0, block_size = 2> (x, s) }",
		 "E0703 needs one for each block"},
		{"integer matmul", 10,
		 "g (uint8[N,3] a, int8[3,4] b) => (y) { y = MatMulInteger(a, b) }",
		 "y int32[N,4]"},
		{"quantised conv", 10,
		 "g (uint8[N,3,9] x, float s, uint8 z, int8[4,3,3] w, int8 wz) => (y) "
		 "{ y = QLinearConv(x, s, z, w, s, wz, s, z) }",
		 "y uint8[N,4,7]"},
		{"layer normalisation", 17,
		 "g (float16[N,3,4] x, float16[4] s) => (y, m) "
		 "{ y, m = LayerNormalization(x, s) }",
		 "y float16[N,3,4]; m float[N,3,1]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_contents(void **state)
{
	static const row rows[] = {
		{"view", 13,
		 "g (float[N,3,4,5] x) => (y) <int64 i = {0}, int64[1] z = {0}, int64[1] m = {-1}> "
		 "{ s = Shape(x) n = Gather(s, i) u = Unsqueeze(n, z) t = Concat <axis = 0> (u, m) "
		 "y = Reshape(x, t) }",
		 "y float[N,60]"},
		{"interpolated size", 13,
		 "g (float[N,3,H,W] x) => (y) <int64[2] two = {2, 2}, int64[1] a = {2}, "
		 "int64[1] b = {4}> { s = Shape(x) t = Slice(s, a, b) y = Mul(t, two) }",
		 "y int64[2] {2*H,2*W}"},
		{"through float", 13,
		 "g (float[N,3,H,W] x) => (y) <float k = {2}, int64[1] a = {2}, "
		 "int64[1] b = {4}> { s = Shape(x) t = Slice(s, a, b) f = Cast <to = 1> (t) m = "
		 "Mul(f, k) "
		 "r = Floor(m) y = Cast <to = 7> (r) }",
		 "y int64[2] {2*H,2*W}"},
		{"expand by where", 13,
		 "g (float[1,3] x, float[N,1] t) => (y) <int64[2] m = {-1, 3}, "
		 "int64[2] o = {1, 1}, int64 n = {-1}> { e = Equal(m, n) s = Shape(t) w = Where(e, "
		 "s, m) "
		 "y = Expand(x, w) }",
		 "y float[N,3]"},
		{"product", 13,
		 "g (float[N,3,4] x) => (y) <int64[1] o = {1}, int64[1] e = {3}> "
		 "{ s = Shape(x) t = Slice(s, o, e) y = ReduceProd <keepdims = 0> (t) }",
		 "y int64 {12}"},
		{"floor division", 13,
		 "g (float[N] x) => (y) <int64 two = {2}> "
		 "{ s = Shape(x) y = Div(s, two) }",
		 "y int64[1] {floor(N/2)}"},
		{"half known", 13, "g (float[?,3] x) => (y) { y = Shape(x) }", "y int64[2] {?,3}"},
		{"heads", 13,
		 "g (float[B,S,768] x) => (y) <int64 i0 = {0}, int64 i1 = {1}, int64[1] z = {0}, "
		 "int64[1] h = {12}, int64[1] d = {64}> { s = Shape(x) b = Gather(s, i0) l = "
		 "Gather(s, i1) "
		 "bu = Unsqueeze(b, z) lu = Unsqueeze(l, z) t = Concat <axis = 0> (bu, lu, h, d) "
		 "r = Reshape(x, t) y = Transpose <perm = [0, 2, 1, 3]> (r) }",
		 "y float[B,12,S,64]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_control(void **state)
{
	static const row rows[] = {
		{"if", 16,
		 "g (bool c, float[N,3] x, float[M,3] z) => (y) { y = If <"
		 "then_branch = t () => (a) { a = Relu(x) }, else_branch = e () => (b) { b = "
		 "Relu(z) }> (c) }",
		 "y float[?,3]"},
		{"if contradicts", 16,
		 "g (bool c, float[N] x, int64[N] z) => (y) { y = If <"
		 "then_branch = t () => (a) { a = Identity(x) }, else_branch = e () => (b) { b = "
		 "Identity(z) }> (c) }",
		 "E0704 is float[N] on one way and int64[N] on another"},
		{"loop, stable", 16,
		 "g (int64 n, bool c, float[N,3] x) => (y, s) { y, s = Loop <"
		 "body = b (int64 i, bool k, a) => (k2, a2, o) { k2 = Identity(k) a2 = Relu(a) "
		 "o = Identity(a) }> (n, c, x) }",
		 "y float[N,3]; s float[?,N,3]"},
		{"loop, growing", 16,
		 "g (int64 n, bool c, float[1,3] x) => (y) { y = Loop <"
		 "body = b (int64 i, bool k, a) => (k2, a2) { k2 = Identity(k) "
		 "a2 = Concat <axis = 0> (a, a) }> (n, c, x) }",
		 "y float[?,3]"},
		{"scan", 16,
		 "g (float[2] s, float[T,5,2] x) => (f, o) { f, o = Scan <num_scan_inputs = 1, "
		 "body = b (float[2] a, e) => (a2, e2) { a2 = Identity(a) e2 = Add(a, e) }> (s, x) "
		 "}",
		 "f float[2]; o float[T,5,2]"},
		{"scan axes", 16,
		 "g (float[5,T] x) => (o) { o = Scan <num_scan_inputs = 1, "
		 "scan_input_axes = [1], scan_output_axes = [-1], body = b (e) => (e2) { e2 = "
		 "Relu(e) }> (x) }",
		 "o float[5,T]"},
		{"scan of nothing", 16,
		 "g (float[5,T] x) => (o) { o = Scan <num_scan_inputs = 0, "
		 "body = b (e) => (e2) { e2 = Relu(e) }> (x) }",
		 "E0702 is 0, must be in [1, 1]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_functions(void **state)
{
	static const row rows[] = {
		{"called twice", 21,
		 "g (float[N,3] x, double[4] z) => (y, w) { y = local.f <k = 1> (x) "
		 "w = local.f <k = 0> (z) } <domain: \"local\", opset_import: [\"\" : 21]> f <k> "
		 "(a) => (c) "
		 "{ b = Softmax(a) c = ReduceSum <keepdims : int = @k> (b) }",
		 "y float[1,1]; w double"},
		{"nested", 21,
		 "g (float[N,3] x) => (y) { y = local.f(x) } "
		 "<domain: \"local\", opset_import: [\"\" : 21, \"local\" : 1]> f (a) => (c) { c = "
		 "local.h(a) } "
		 "<domain: \"local\", opset_import: [\"\" : 21]> h (a) => (c) { c = Transpose(a) }",
		 "y float[3,N]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

static void test_stated(void **state)
{
	static const row rows[] = {
		{"output says more", 21,
		 "g (float[N] x, float[M] z) => (float[K] y) { y = Mul(x, z) }", "y float[K]"},
		{"unknown operator, stated", 21,
		 "g (float[N] x) => (float[N,2] y) { y = local.Mystery(x) }", "y float[N,2]"},
		{"contradiction", 21,
		 "g (float[4] x) => (y) <float[3] t> { t = Relu(x)  y = Relu(t) }",
		 "E0704 output 0 \"t\": is float[4], but is stated as float[3]"},
		{"of an output, which is a warning", 21,
		 "g (float[4] x) => (float[3,1] y) { y = Relu(x) }", "y float[4]"},
		{"of type", 21, "g (float[4] x) => (int64[4] y) { y = Relu(x) }",
		 "E0704 output 0 \"y\": is float[4], but is stated as int64[4]"},
	};
	(void)state;
	check_rows(rows, sizeof rows / sizeof *rows);
}

/* A wrong shape of an output is told once a model, however often shapes are inferred. */
static void test_stated_output(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, "output", 21, "g (float[4] x) => (float[3] y) { y = Relu(x) }");
	for (int i = 0; i < 3; i++)
		assert_int_equal(pai_infer(m), PAI_OK);
	assert_int_equal(pai_diag_count(ctx), 1);
	assert_int_equal(pai_diag_get(ctx, 0)->severity, PAI_WARNING);
	assert_int_equal(pai_diag_get(ctx, 0)->code, PAI_E_stated_output);
	pai_model *other =
		parse(ctx, "another", 21, "g (float[4] x) => (float[5] y) { y = Relu(x) }");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pai_infer(m), PAI_OK);
		assert_int_equal(pai_infer(other), PAI_OK);
	}
	assert_int_equal(pai_diag_count(ctx), 2);
	assert_string_equal(pai_diag_get(ctx, 1)->file, "another");
	pai_model_free(other);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static void test_fix_dim(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_model *m = parse(ctx, "fix", 21, "g (float[N,?] x) => (float[N,M] y) { y = Relu(x) }");
	assert_int_equal(pai_infer(m), PAI_OK);
	assert_string_equal(outputs_text(ctx, a, m), "y float[N,M]");
	assert_int_equal(pai_model_fix_dim(m, "N", 4), PAI_OK);
	assert_int_equal(pai_model_fix_dim(m, "x:1", 5), PAI_OK);
	assert_int_equal(pai_model_fix_dim(m, "K", 5), PAI_USAGE);
	assert_int_equal(pai_infer(m), PAI_OK);
	assert_string_equal(outputs_text(ctx, a, m), "y float[4,5]");
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static void test_one_node(void **state)
{
	(void)state;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_model *m = parse(
		ctx, "node", 21,
		"g (float[N,4] x, int64[2] s) => (y, z) { y = Reshape(x, s) z = local.f(x) } "
		"<domain: \"local\", opset_import: [\"\" : 21]> f (a) => (c) { c = Transpose(a) }");
	const pai_tensor x = {.dtype = PAI_FLOAT, .rank = 2, .dims = (int64_t[]){6, 4}};
	const pai_tensor *shape = pai_tensor_from_ints(a, 2, (int64_t[]){3, -1});
	pai_type out;
	assert_int_equal(pai_shape_node(ctx, a, m->graph->nodes.at[0],
					(const pai_tensor *[]){&x, shape}, &out),
			 PAI_OK);
	assert_string_equal(pai_type_text(ctx, a, &out), "float[3,8]");
	assert_int_equal(
		pai_shape_node(ctx, a, m->graph->nodes.at[1], (const pai_tensor *[]){&x}, &out),
		PAI_OK);
	assert_string_equal(pai_type_text(ctx, a, &out), "float[4,6]");
	pai_arena_free(a);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dims),          cmocka_unit_test(test_elementwise),
		cmocka_unit_test(test_linear),        cmocka_unit_test(test_move),
		cmocka_unit_test(test_index),         cmocka_unit_test(test_sequence),
		cmocka_unit_test(test_quant),         cmocka_unit_test(test_make),
		cmocka_unit_test(test_contents),      cmocka_unit_test(test_control),
		cmocka_unit_test(test_functions),     cmocka_unit_test(test_stated),
		cmocka_unit_test(test_stated_output), cmocka_unit_test(test_fix_dim),
		cmocka_unit_test(test_one_node),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
