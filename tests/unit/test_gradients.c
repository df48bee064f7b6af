/* test_gradients.c -- gradient rules of products, convolutions, pools and data movement against
 * central differences in double precision, over seeded random shapes and attributes. Each case
 * makes a model of one node as text; a new seed makes another. */
#include "runtime/runtime.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { SEEDS = 12, TEXT = 2048, MAX_INPUTS = 4 };

typedef struct model_text { /* a model under construction */
	pai_random random;
	uint64_t drawn;
	char inputs[TEXT], inits[TEXT], attrs[TEXT], args[TEXT];
	int n_inputs, n_inits, seed;
} model_text;

static int draw(model_text *t, int low, int high)
{
	float u = pai_random_uniform(&t->random, t->drawn++);
	return low + (int)(u * (float)(high - low + 1));
}

PAI_PRINTF(2, 3) static void put(char *to, const char *fmt, ...)
{
	va_list args;
	size_t n = strlen(to);
	va_start(args, fmt);
	assert_in_range(vsnprintf(to + n, TEXT - n, fmt, args), 0, TEXT - n - 1);
	va_end(args);
}

static void put_dims(char *to, int rank, const int *dims)
{
	for (int i = 0; i < rank; i++)
		put(to, "%s%d", i ? "," : "", dims[i]);
}

/* A double input of these dims; the next operand. */
static void operand(model_text *t, int rank, const int *dims)
{
	put(t->inputs, "%sdouble%s", t->n_inputs ? ", " : "", rank ? "[" : "");
	put_dims(t->inputs, rank, dims);
	put(t->inputs, "%s x%d", rank ? "]" : "", t->n_inputs);
	put(t->args, "%sx%d", *t->args ? ", " : "", t->n_inputs++);
}

/* An integer initialiser; the next operand. */
static void integers(model_text *t, int n, const int *v)
{
	put(t->inits, "%sint64[%d] i%d = {", t->n_inits ? ", " : "", n, t->n_inits);
	put_dims(t->inits, n, v);
	put(t->inits, "}");
	put(t->args, "%si%d", *t->args ? ", " : "", t->n_inits++);
}

static void attr_int(model_text *t, const char *name, int v)
{
	put(t->attrs, "%s%s = %d", *t->attrs ? ", " : "", name, v);
}

static void attr_ints(model_text *t, const char *name, int n, const int *v)
{
	put(t->attrs, "%s%s = [", *t->attrs ? ", " : "", name);
	put_dims(t->attrs, n, v);
	put(t->attrs, "]");
}

static void attr_string(model_text *t, const char *name, const char *v)
{
	put(t->attrs, "%s%s = \"%s\"", *t->attrs ? ", " : "", name, v);
}

static void random_dims(model_text *t, int rank, int *dims)
{
	for (int i = 0; i < rank; i++)
		dims[i] = draw(t, 1, 4);
}

/* ---- the cases: each fills in operands and attributes and names the operator ---- */

static const char *mat_mul(model_text *t)
{
	int batch[2], a[4], b[4], m = draw(t, 1, 4), k = draw(t, 1, 4), n = draw(t, 1, 4);
	int ra = draw(t, 1, 4), rb = draw(t, 1, 4);
	random_dims(t, 2, batch);
	for (int i = 0; i < ra - 2; i++)
		a[i] = draw(t, 0, 2) ? batch[4 - ra + i] : 1;
	for (int i = 0; i < rb - 2; i++)
		b[i] = draw(t, 0, 2) ? batch[4 - rb + i] : 1;
	if (ra > 1)
		a[ra - 2] = m;
	a[ra - 1] = k;
	b[rb > 1 ? rb - 2 : 0] = k;
	if (rb > 1)
		b[rb - 1] = n;
	operand(t, ra, a);
	operand(t, rb, b);
	return "MatMul";
}

static const char *gemm(model_text *t)
{
	int m = draw(t, 1, 4), k = draw(t, 1, 4), n = draw(t, 1, 4);
	int trans_a = draw(t, 0, 1), trans_b = draw(t, 0, 1);
	operand(t, 2, trans_a ? (int[]){k, m} : (int[]){m, k});
	operand(t, 2, trans_b ? (int[]){n, k} : (int[]){k, n});
	if (draw(t, 0, 3)) {
		int c[2] = {draw(t, 0, 1) ? m : 1, draw(t, 0, 1) ? n : 1}, rank = draw(t, 0, 2);
		operand(t, rank, c + 2 - rank);
	}
	attr_int(t, "transA", trans_a);
	attr_int(t, "transB", trans_b);
	put(t->attrs, ", alpha = %d.5, beta = %d.25", draw(t, -2, 2), draw(t, -2, 2));
	return "Gemm";
}

/* Strides, dilations, pads; sizes so that at least one window fits. */
static void window(model_text *t, int rank, int max_pad, int *kernel, int *size)
{
	int stride[3], dilation[3], pads[6];
	for (int i = 0; i < rank; i++) {
		kernel[i] = draw(t, 1, 3);
		stride[i] = draw(t, 1, 3);
		dilation[i] = draw(t, 1, 2);
		pads[i] = draw(t, 0, kernel[i] - 1 < max_pad ? kernel[i] - 1 : max_pad);
		pads[rank + i] = draw(t, 0, kernel[i] - 1 < max_pad ? kernel[i] - 1 : max_pad);
		size[i] = (kernel[i] - 1) * dilation[i] + 1 + draw(t, 0, 3);
	}
	attr_ints(t, "strides", rank, stride);
	attr_ints(t, "dilations", rank, dilation);
	static const char *const modes[] = {"VALID", "SAME_UPPER", "SAME_LOWER"};
	int mode = draw(t, 0, 5);
	if (mode < 3)
		attr_string(t, "auto_pad", modes[mode]);
	else
		attr_ints(t, "pads", 2 * rank, pads);
}

static const char *conv(model_text *t)
{
	int rank = draw(t, 1, 3), x[5], w[5], groups = draw(t, 1, 2);
	window(t, rank, 2, w + 2, x + 2);
	x[0] = draw(t, 1, 2);
	w[1] = draw(t, 1, 2);
	x[1] = groups * w[1];
	w[0] = groups * draw(t, 1, 2);
	operand(t, rank + 2, x);
	operand(t, rank + 2, w);
	if (draw(t, 0, 1))
		operand(t, 1, w);
	attr_int(t, "group", groups);
	return "Conv";
}

static const char *conv_transpose(model_text *t)
{
	int rank = draw(t, 1, 3), x[5], w[5], groups = draw(t, 1, 2), more[3];
	window(t, rank, 1, w + 2, x + 2);
	x[0] = draw(t, 1, 2);
	x[1] = w[0] = groups * draw(t, 1, 2);
	w[1] = draw(t, 1, 2);
	for (int i = 0; i < rank; i++) {
		x[2 + i] = draw(t, 1, 4) + 1;
		more[i] = draw(t, 0, 1);
	}
	operand(t, rank + 2, x);
	operand(t, rank + 2, w);
	if (draw(t, 0, 1))
		operand(t, 1, (int[]){groups * w[1]});
	attr_int(t, "group", groups);
	attr_ints(t, "output_padding", rank, more);
	return "ConvTranspose";
}

static void pool(model_text *t)
{
	int rank = draw(t, 1, 3), x[5], kernel[3];
	window(t, rank, 2, kernel, x + 2);
	x[0] = draw(t, 1, 2);
	x[1] = draw(t, 1, 2);
	operand(t, rank + 2, x);
	attr_ints(t, "kernel_shape", rank, kernel);
	attr_int(t, "ceil_mode", draw(t, 0, 1));
}

static const char *max_pool(model_text *t)
{
	pool(t);
	return "MaxPool";
}

static const char *average_pool(model_text *t)
{
	pool(t);
	attr_int(t, "count_include_pad", draw(t, 0, 1));
	return "AveragePool";
}

static const char *global_average_pool(model_text *t)
{
	int x[5], rank = draw(t, 3, 5);
	random_dims(t, rank, x);
	operand(t, rank, x);
	return "GlobalAveragePool";
}

static const char *flatten(model_text *t)
{
	int x[4], rank = draw(t, 1, 4);
	random_dims(t, rank, x);
	operand(t, rank, x);
	attr_int(t, "axis", draw(t, -rank, rank));
	return "Flatten";
}

static const char *reshape(model_text *t)
{
	int x[3];
	random_dims(t, 3, x);
	operand(t, 3, x);
	integers(t, 3, draw(t, 0, 1) ? (int[]){0, 1, -1} : (int[]){x[1], -1, x[0]});
	return "Reshape";
}

static const char *squeeze(model_text *t)
{
	int x[4] = {1, draw(t, 1, 3), 1, draw(t, 1, 3)};
	operand(t, 4, x);
	integers(t, 2, draw(t, 0, 1) ? (int[]){0, 2} : (int[]){-2, -4});
	return "Squeeze";
}

static const char *unsqueeze(model_text *t)
{
	int x[2];
	random_dims(t, 2, x);
	operand(t, 2, x);
	integers(t, 2, draw(t, 0, 1) ? (int[]){0, 2} : (int[]){-1, 1});
	return "Unsqueeze";
}

static const char *transpose(model_text *t)
{
	int x[4], perm[4] = {0, 1, 2, 3};
	random_dims(t, 4, x);
	operand(t, 4, x);
	for (int i = 3; i > 0; i--) {
		int j = draw(t, 0, i), v = perm[i];
		perm[i] = perm[j];
		perm[j] = v;
	}
	if (draw(t, 0, 3))
		attr_ints(t, "perm", 4, perm);
	return "Transpose";
}

static const char *concat(model_text *t)
{
	int x[3], axis = draw(t, 0, 2), n = draw(t, 1, 3);
	random_dims(t, 3, x);
	for (int i = 0; i < n; i++) {
		operand(t, 3, x);
		x[axis] = draw(t, 1, 3);
	}
	attr_int(t, "axis", draw(t, 0, 1) ? axis : axis - 3);
	return "Concat";
}

static const char *slice(model_text *t)
{
	int x[3], starts[2], ends[2], steps[2];
	random_dims(t, 3, x);
	operand(t, 3, x);
	for (int i = 0; i < 2; i++) {
		bool forward = draw(t, 0, 1);
		starts[i] = forward ? draw(t, -5, 1) : draw(t, -1, 5);
		ends[i] = forward ? draw(t, 3, 9) : draw(t, -9, -3);
		steps[i] = forward ? draw(t, 1, 2) : draw(t, -2, -1);
	}
	integers(t, 2, starts);
	integers(t, 2, ends);
	integers(t, 2, (int[]){draw(t, 0, 1), 2});
	integers(t, 2, steps);
	return "Slice";
}

static const char *gather(model_text *t)
{
	int x[3], indices[5], axis = draw(t, -3, 2);
	random_dims(t, 3, x);
	operand(t, 3, x);
	int size = x[axis < 0 ? axis + 3 : axis];
	for (int i = 0; i < 5; i++) /* repeated ones too */
		indices[i] = draw(t, -size, size - 1);
	integers(t, 5, indices);
	attr_int(t, "axis", axis);
	return "Gather";
}

static const char *expand(model_text *t)
{
	int x[3], shape[4];
	random_dims(t, 3, x);
	shape[0] = draw(t, 1, 3);
	for (int i = 0; i < 3; i++) {
		shape[1 + i] = draw(t, 0, 1) ? x[i] : 1;
		if (draw(t, 0, 1) && shape[1 + i] == x[i])
			x[i] = 1;
	}
	operand(t, 3, x);
	integers(t, 4, shape);
	return "Expand";
}

static const char *pad(model_text *t)
{
	static const char *const modes[] = {"constant", "reflect", "edge", "wrap"};
	int x[3], pads[4], mode = draw(t, 0, 3);
	random_dims(t, 3, x);
	for (int i = 0; i < 3; i++)
		x[i] += 1;
	operand(t, 3, x);
	for (int i = 0; i < 4; i++)
		pads[i] = draw(t, -1, 1);
	integers(t, 4, pads);
	put(t->args, ",");
	if (mode == 0 && draw(t, 0, 1)) {
		put(t->inputs, ", double x1");
		put(t->args, " x%d", t->n_inputs++);
	}
	integers(t, 2, (int[]){2, draw(t, 0, 1)});
	attr_string(t, "mode", modes[mode]);
	return "Pad";
}

/* [batch, channels, ..] and as many scales and biases; epsilon away from 0, where a small group has
 * a gradient that differences cannot follow */
static void normalised(model_text *t, int channels)
{
	int x[4] = {draw(t, 1, 2), channels, draw(t, 2, 4), draw(t, 1, 3)};
	operand(t, draw(t, 3, 4), x);
	operand(t, 1, &channels);
	operand(t, 1, &channels);
	put(t->attrs, "%sepsilon = 0.125", *t->attrs ? ", " : "");
}

static const char *instance_normalization(model_text *t)
{
	normalised(t, draw(t, 1, 3));
	return "InstanceNormalization";
}

static const char *group_normalization(model_text *t)
{
	int groups = draw(t, 1, 3);
	attr_int(t, "num_groups", groups);
	normalised(t, groups * draw(t, 1, 2));
	return "GroupNormalization";
}

static const char *layer_normalization(model_text *t)
{
	int x[3] = {draw(t, 1, 3), draw(t, 2, 4), draw(t, 2, 3)}, one = 1;
	operand(t, 3, x);
	operand(t, 1, draw(t, 0, 1) ? &x[2] : &one);
	attr_int(t, "axis", draw(t, 1, 2));
	put(t->attrs, ", epsilon = 0.125");
	return "LayerNormalization";
}

static const char *lp_normalization(model_text *t)
{
	int x[3];
	random_dims(t, 3, x);
	operand(t, 3, x);
	attr_int(t, "axis", draw(t, -3, 2));
	attr_int(t, "p", draw(t, 1, 2));
	return "LpNormalization";
}

static const char *mean_variance_normalization(model_text *t)
{
	int x[4] = {draw(t, 2, 3), draw(t, 1, 3), draw(t, 2, 3), draw(t, 2, 3)};
	operand(t, 4, x);
	if (draw(t, 0, 1))
		attr_ints(t, "axes", 2, (int[]){0, -1});
	return "MeanVarianceNormalization";
}

/* Sizes of a, b, c, d are 2, 3, 4, 1. */
static const char *einsum(model_text *t)
{
	static const struct {
		const char *equation;
		int n, rank[3], dims[3][4];
	} rows[] = {
		{"ab,bc->ac", 2, {2, 2}, {{2, 3}, {3, 4}}},
		{"ab,bc", 2, {2, 2}, {{2, 3}, {3, 4}}},
		{"aa->a", 1, {2}, {{2, 2}}},
		{"aab,b->", 2, {3, 1}, {{2, 2, 3}, {3}}},
		{"abc->b", 1, {3}, {{2, 3, 4}}},
		{"...ab,...bc->...ac", 2, {3, 4}, {{4, 2, 3}, {3, 1, 3, 4}}},
		{"a,b,c->cab", 3, {1, 1, 1}, {{2}, {3}, {4}}},
		{"ab,ab->a", 2, {2, 2}, {{2, 3}, {2, 1}}},
		{"ab, b -> ba", 2, {2, 1}, {{2, 3}, {3}}},
		{"dab,abc->bd", 2, {3, 3}, {{1, 2, 3}, {2, 3, 4}}},
	};
	int k = t->seed % (int)(sizeof rows / sizeof *rows); /* each of them */
	for (int i = 0; i < rows[k].n; i++)
		operand(t, rows[k].rank[i], rows[k].dims[i]);
	attr_string(t, "equation", rows[k].equation);
	return "Einsum";
}

static const struct gradient_case {
	const char *name;
	const char *(*make)(model_text *t);
} cases[] = {
	{"MatMul", mat_mul},
	{"Gemm", gemm},
	{"Conv", conv},
	{"ConvTranspose", conv_transpose},
	{"MaxPool", max_pool},
	{"AveragePool", average_pool},
	{"Flatten", flatten},
	{"GlobalAveragePool", global_average_pool},
	{"Reshape", reshape},
	{"Squeeze", squeeze},
	{"Slice", slice},
	{"Unsqueeze", unsqueeze},
	{"Concat", concat},
	{"Transpose", transpose},
	{"Gather", gather},
	{"Expand", expand},
	{"Pad", pad},
	{"InstanceNormalization", instance_normalization},
	{"GroupNormalization", group_normalization},
	{"LayerNormalization", layer_normalization},
	{"LpNormalization", lp_normalization},
	{"MeanVarianceNormalization", mean_variance_normalization},
	{"Einsum", einsum},
};

/* ---- the check ---- */

static pai_model *parse(pai_ctx *ctx, const struct gradient_case *c, uint64_t seed, char *text)
{
	model_text t = {.random = pai_random_new(seed, (uint64_t)(c - cases), 0),
			.seed = (int)seed};
	const char *op = c->make(&t);
	const char *open = *t.attrs ? "<" : "", *close = *t.attrs ? ">" : "";
	text[0] = 0;
	put(text, "<ir_version: 10, opset_import: [\"\" : 21]>\ng (%s) => (double[] y) ", t.inputs);
	put(text, "<%s> {\n  y = %s %s%s%s (%s)\n}\n", t.inits, op, open, t.attrs, close, t.args);
	pai_model *m;
	if (pai_text_parse(ctx, "case", text, strlen(text), &m) != PAI_OK || pai_infer(m) != PAI_OK)
		fail_msg("%s seed %d does not parse:\n%s", c->name, (int)seed, text);
	return m;
}

typedef struct checked { /* one model with its inputs */
	pai_ctx *ctx;
	pai_arena *arena;
	const pai_tensor **in;
	int n_in;
	const pai_tensor *up; /* upstream gradient */
} checked;

static const pai_plan_options reference = {.backend = PAI_REFERENCE};

static double loss(checked *k, pai_plan *plan)
{
	const pai_tensor *y;
	double sum = 0;
	assert_int_equal(pai_plan_run(plan, k->in, &y), PAI_OK);
	if (!k->up) { /* the first run tells the shape */
		pai_tensor *up = pai_tensor_new(k->arena, PAI_DOUBLE, y->rank, y->dims);
		pai_random r = pai_random_new(7, 7, 7);
		for (int64_t i = 0; i < pai_tensor_nelem(up); i++)
			pai_tensor_set(up, i, (double)pai_random_normal(&r, (uint64_t)i));
		k->up = up;
	}
	for (int64_t i = 0; i < pai_tensor_nelem(y); i++)
		sum += ((const double *)y->data)[i] * ((const double *)k->up->data)[i];
	return sum;
}

static void gradients(checked *k, pai_model *m, const pai_tensor **out, pai_plan **plan)
{
	pai_patch *p = pai_patch_new(m->graph);
	pai_applied applied;
	pai_value *wrt[MAX_INPUTS], *found[MAX_INPUTS], *const *inputs;
	pai_patch_begin(p, NULL, "upstream");
	pai_value *up = pai_patch_init(p, "up", (pai_tensor *)k->up);
	assert_int_equal(pai_patch_apply(p, -1, &applied), PAI_OK);
	pai_model_inputs(m, &inputs);
	for (int i = 0; i < k->n_in; i++)
		wrt[i] = inputs[i];
	assert_int_equal(pai_autodiff(m, 1, m->graph->outputs.at, &up, k->n_in, wrt, found),
			 PAI_OK);
	for (int i = 0; i < k->n_in; i++)
		assert_non_null(found[i]);
	pai_plan_options o = reference;
	o.n_keep = k->n_in;
	o.keep = found;
	const pai_tensor *all[1 + MAX_INPUTS];
	assert_int_equal(pai_plan_new(k->ctx, m->graph, k->n_in, k->in, &o, plan), PAI_OK);
	assert_int_equal(pai_plan_run(*plan, k->in, all), PAI_OK);
	for (int i = 0; i < k->n_in; i++)
		out[i] = all[1 + i];
}

/* Every element of every input, central differences with h = 1e-5. */
static void compare(checked *k, pai_plan *forward, const pai_tensor **grad, const char *text)
{
	for (int i = 0; i < k->n_in; i++) {
		double *x = k->in[i]->data;
		assert_int_equal(pai_tensor_nelem(grad[i]), pai_tensor_nelem(k->in[i]));
		for (int64_t e = 0; e < pai_tensor_nelem(k->in[i]); e++) {
			double old = x[e], h = 1e-5;
			x[e] = old + h;
			double high = loss(k, forward);
			x[e] = old - h;
			double low = loss(k, forward), got = ((const double *)grad[i]->data)[e];
			x[e] = old;
			double want = (high - low) / (2 * h);
			if (!(fabs(got - want) <= 1e-6 * (1 + fabs(want))))
				fail_msg("d x%d[%d] is %.12g, difference gives %.12g\n%s", i,
					 (int)e, got, want, text);
		}
	}
}

static void check_case(void **state)
{
	const struct gradient_case *c = *state;
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		char text[TEXT];
		pai_ctx *ctx = pai_ctx_new(NULL);
		checked k = {.ctx = ctx, .arena = pai_arena_new(ctx)};
		pai_model *m = parse(ctx, c, seed, text);
		pai_value *const *inputs;
		k.n_in = pai_model_inputs(m, &inputs);
		if (pai_random_inputs(ctx, k.arena, m, seed, &k.in) != PAI_OK)
			fail_msg("no inputs:\n%s", text);
		pai_plan *forward, *backward;
		if (pai_plan_new(ctx, m->graph, k.n_in, k.in, &reference, &forward) != PAI_OK)
			fail_msg("no plan: %s\n%s", pai_diag_get(ctx, 0)->text, text);
		(void)loss(&k, forward);
		pai_model *copy = pai_model_clone(m);
		const pai_tensor *grad[MAX_INPUTS];
		gradients(&k, copy, grad, &backward);
		compare(&k, forward, grad, text);
		pai_plan_free(backward);
		pai_plan_free(forward);
		pai_model_free(copy);
		pai_model_free(m);
		pai_arena_free(k.arena);
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
