/* test_bad_nodes.c -- nodes whose attributes, shapes or indices make no sense: each ends with an
 * error of its status, whoever finds it (shape rule, plan or kernel), and never with a crash or a
 * result. */
#include "runtime/runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static const struct bad_case {
	const char *name;
	const char
		*body; /* of a graph with inputs x float[2,3,4,5], i int64[n] of the values below */
	pai_status status;
	int n;
	int64_t i[4];
} cases[] = {
	{"gather far", "y = Gather (x, i)", PAI_INVALID, 1, {2}},
	{"gather far below", "y = Gather (x, i)", PAI_INVALID, 2, {0, -3}},
	{"gather largest", "y = Gather (x, i)", PAI_INVALID, 1, {INT64_MAX}},
	{"gather smallest", "y = Gather (x, i)", PAI_INVALID, 1, {INT64_MIN}},
	{"gather axis", "y = Gather <axis = 4> (x, i)", PAI_INVALID, 1, {0}},
	{"reshape size", "y = Reshape (x, i)", PAI_INVALID, 2, {7, -1}},
	{"reshape two free", "y = Reshape (x, i)", PAI_INVALID, 2, {-1, -1}},
	{"reshape negative", "y = Reshape (x, i)", PAI_INVALID, 2, {-2, 60}},
	{"reshape overflow", "y = Reshape (x, i)", PAI_LIMIT, 3, {INT64_MAX, INT64_MAX, 0}},
	{"expand", "y = Expand (x, i)", PAI_INVALID, 1, {4}},
	{"expand negative", "y = Expand (x, i)", PAI_INVALID, 1, {-1}},
	{"expand huge",
	 "s = ReduceSum <keepdims = 0> (x)  y = Expand (s, i)",
	 PAI_LIMIT,
	 2,
	 {(int64_t)1 << 30, (int64_t)1 << 30}},
	{"transpose twice", "y = Transpose <perm = [0, 1, 1, 3]> (x)", PAI_INVALID, 1, {0}},
	{"transpose short", "y = Transpose <perm = [1, 0]> (x)", PAI_INVALID, 1, {0}},
	{"transpose large",
	 "y = Transpose <perm = [0, 1, 2, 9223372036854775807]> (x)",
	 PAI_INVALID,
	 1,
	 {0}},
	{"squeeze wide", "y = Squeeze (x, i)", PAI_INVALID, 1, {1}},
	{"squeeze axis", "y = Squeeze (x, i)", PAI_INVALID, 1, {-5}},
	{"unsqueeze twice", "y = Unsqueeze (x, i)", PAI_INVALID, 2, {0, -6}},
	{"slice step", "y = Slice (x, i, i, i, i)", PAI_INVALID, 1, {0}},
	{"slice axis", "s = Neg (i)  y = Slice (x, i, i, i)", PAI_INVALID, 1, {7}},
	{"concat axis", "y = Concat <axis = 4> (x, x)", PAI_INVALID, 1, {0}},
	{"concat rank", "f = Cast <to = 1> (i)  y = Concat <axis = 0> (x, f)", PAI_INVALID, 1, {0}},
	{"split sum", "y, z = Split <axis = 3> (x, i)", PAI_INVALID, 2, {2, 2}},
	{"split negative", "y, z = Split <axis = 3> (x, i)", PAI_INVALID, 2, {-1, 6}},
	{"split count", "y, z = Split <axis = 3> (x, i)", PAI_INVALID, 1, {5}},
	{"pad short", "y = Pad (x, i)", PAI_INVALID, 2, {1, 1}},
	{"pad too negative",
	 "a = Constant <value_ints = [0, 0]> ()  y = Pad (x, i, , a)",
	 PAI_INVALID,
	 4,
	 {-3, 0, -3, 0}},
	{"pad wraps around",
	 "a = Constant <value_ints = [0]> ()  y = Pad (x, i, , a)",
	 PAI_INVALID,
	 2,
	 {INT64_MAX, INT64_MAX}},
	{"constant of shape", "y = ConstantOfShape (i)", PAI_INVALID, 2, {3, -1}},
	{"constant of huge shape",
	 "y = ConstantOfShape (i)",
	 PAI_LIMIT,
	 2,
	 {(int64_t)1 << 30, (int64_t)1 << 30}},
	{"matmul sizes", "y = MatMul (x, x)", PAI_INVALID, 1, {0}},
	{"gemm rank", "y = Gemm (x, x)", PAI_INVALID, 1, {0}},
	{"conv rank", "w = Flatten (x)  y = Conv (x, w)", PAI_INVALID, 1, {0}},
	{"conv stride 0", "y = Conv <strides = [0, 1]> (x, x)", PAI_INVALID, 1, {0}},
	{"conv short pads", "y = Conv <pads = [1, 1]> (x, x)", PAI_INVALID, 1, {0}},
	{"conv dilation", "y = Conv <dilations = [-1, 1]> (x, x)", PAI_INVALID, 1, {0}},
	{"conv group 0", "y = Conv <group = 0> (x, x)", PAI_INVALID, 1, {0}},
	{"conv groups", "y = Conv <group = 2> (x, x)", PAI_INVALID, 1, {0}},
	{"conv kernel", "y = Conv <kernel_shape = [3, 3]> (x, x)", PAI_INVALID, 1, {0}},
	{"conv auto_pad", "y = Conv <auto_pad = \"SAME\"> (x, x)", PAI_INVALID, 1, {0}},
	{"conv transpose",
	 "y = ConvTranspose <output_padding = [-1, 0]> (x, x)",
	 PAI_INVALID,
	 1,
	 {0}},
	{"max pool kernel 0", "y = MaxPool <kernel_shape = [0, 1]> (x)", PAI_INVALID, 1, {0}},
	{"max pool too large", "y = MaxPool <kernel_shape = [9, 9]> (x)", PAI_INVALID, 1, {0}},
	{"max pool stride",
	 "y = MaxPool <kernel_shape = [2, 2], strides = [1]> (x)",
	 PAI_INVALID,
	 1,
	 {0}},
	{"loop for ever",
	 "s = ReduceSum <keepdims = 0> (x)  y = Loop <body = b (int64 k, bool on, float v) => "
	 "(bool go, float w) "
	 "{ go = Identity (on)  w = Neg (v) }> (, , s)",
	 PAI_LIMIT,
	 1,
	 {0}},
	{"loop of growing results",
	 "m = Constant <value_int = 9> ()  y = Loop <body = b (int64 k, bool on) => (bool go, "
	 "int64[] w) { go = Identity (on)  o = Constant <value_ints = [1]> ()  t = Reshape (k, o)  "
	 "w = ConstantOfShape (t) }> (m, )",
	 PAI_INVALID,
	 1,
	 {0}},
	{"scan lengths",
	 "t = Transpose (x)  y = Scan <num_scan_inputs = 2, body = b (float[] p, float[] q) => "
	 "(float[] r) { r = Identity (p) }> (x, t)",
	 PAI_INVALID,
	 1,
	 {0}},
	{"average pool rank", "y = AveragePool <kernel_shape = [2]> (i)", PAI_INVALID, 1, {0}},
};

static const char *model_text(const struct bad_case *c, char *text, size_t room)
{
	snprintf(text, room,
		 "<ir_version: 10, opset_import: [\"\" : 21]>\n"
		 "g (float[2,3,4,5] x, int64[%d] i) => (y) { %s }\n",
		 c->n, c->body);
	return text;
}

/* Infers, plans and runs; the first status that is not OK. */
static pai_status attempt(pai_ctx *ctx, pai_model *m, const struct bad_case *c, pai_backend backend)
{
	static float zeros[2 * 3 * 4 * 5];
	pai_tensor x = {.dtype = PAI_FLOAT,
			.rank = 4,
			.dims = (int64_t[]){2, 3, 4, 5},
			.data = zeros,
			.nbytes = sizeof zeros};
	int64_t values[4], n = c->n;
	memcpy(values, c->i, sizeof values);
	pai_tensor i = {.dtype = PAI_INT64,
			.rank = 1,
			.dims = &n,
			.data = values,
			.nbytes = (size_t)n * sizeof *values};
	const pai_tensor *in[2] = {&x, &i}, *out[1];
	pai_plan_options o = {.backend = backend};
	pai_plan *p;
	PAI_TRY(pai_infer(m));
	PAI_TRY(pai_plan_new(ctx, m->graph, 2, in, &o, &p));
	pai_status status = pai_plan_run(p, in, out);
	pai_plan_free(p);
	return status;
}

static void check_case(void **state)
{
	const struct bad_case *c = *state;
	for (int backend = PAI_FAST; backend <= PAI_REFERENCE; backend++) {
		char text[1024];
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m;
		ctx->limits.run_work = 1000000;
		model_text(c, text, sizeof text);
		pai_status status = pai_text_parse(ctx, "case", text, strlen(text), &m);
		if (status != PAI_OK)
			fail_msg("does not parse: %s", pai_diag_get(ctx, 0)->text);
		status = attempt(ctx, m, c, (pai_backend)backend);
		if (status != c->status)
			fail_msg("status %d instead of %d: %s", (int)status, (int)c->status,
				 pai_diag_count(ctx) ? pai_diag_get(ctx, 0)->text : "");
		assert_true(pai_diag_count(ctx) > 0);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

int main(void)
{
	enum { N = sizeof cases / sizeof *cases };
	struct CMUnitTest tests[N];
	for (int i = 0; i < N; i++)
		tests[i] = (struct CMUnitTest){.name = cases[i].name,
					       .test_func = check_case,
					       .initial_state = (void *)(uintptr_t)&cases[i]};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
