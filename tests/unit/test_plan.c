/* test_plan.c -- the plan: fast steps against the reference on graphs of random sizes, forwards and
 * for gradients; control flow; shapes found by the run; memory; what executes the networks that are
 * timed; equal bits from run to run. */
#include "runtime/plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct graph_case {
	const char *text;    /* %d are sizes from 1 to 9, the same for the same letter after it */
	const char *weights; /* inputs that are made initialisers, separated by spaces; or NULL */
	bool grad;           /* gradients of every float input are compared as well */
} graph_case;

/* {a}, {b}, ... stand for random sizes, {a*8} for multiples. */
static const graph_case cases[] = {
	{"(float[{a},{b}] x, float[{c},{b}] w, float[{c}] v) => (float[{a},{c}] y) {"
	 " z = Gemm<transB=1>(x, w, v) y = Relu(z) }",
	 "w v", true},
	{"(float[{a*8},{b*9}] x, float[{b*9},{c*7}] w) => (float[{a*8},{c*7}] y) {"
	 " y = Gemm<alpha=0.5>(x, w) }",
	 NULL, true},
	{"(float[{b},{a}] x, float[{c},{b}] w, float[{a},1] v) => (float[{a},{c}] y) {"
	 " y = Gemm<transA=1,transB=1,beta=2.0>(x, w, v) }",
	 NULL, true},
	{"(float[{d},{a},{b}] x, float[{d},{b},{c}] w, float[{c}] v) => (float[{d},{a},{c}] y) {"
	 " z = MatMul(x, w) t = Add(z, v) y = Tanh(t) }",
	 NULL, true},
	{"(float[{d},{a},{b}] x, float[{b},{c}] w, float[{c}] v) => (float[{d},{a},{c}] y) {"
	 " z = MatMul(x, w) t = Add(v, z) y = Relu(t) }",
	 "w", true},
	{"(float[{a},{c},9,{d+4}] x, float[{b},{c},3,3] w, float[{b}] v) => (float[N,M,P,Q] y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w, v) r = Relu(z)"
	 " y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r) }",
	 "w v", true},
	{"(float[{a},{c},9,{d+4}] x, float[{b},{c},3,2] w) => (float[N,M,P,Q] y) {"
	 " z = Conv<strides=[2,1],dilations=[1,2],pads=[1,0,0,1]>(x, w) y = Sigmoid(z) }",
	 NULL, true},
	{"(float[{a},{b*2},8,8] x, float[{b*2},1,3,3] w) => (float[N,M,P,Q] y) {"
	 " y = Conv<group={b*2},pads=[1,1,1,1]>(x, w) }",
	 "w", true},
	{"(float[{a},{c},{d+6}] x, float[{b},{c},4] w) => (float[N,M,P] y) {"
	 " z = Conv(x, w) y = AveragePool<kernel_shape=[2]>(z) }",
	 NULL, true},
	{"(float[{a},{b},7,6] x) => (float[N,M,P,Q] y) {"
	 " y = MaxPool<kernel_shape=[3,3],strides=[2,2],pads=[1,1,1,1],ceil_mode=1>(x) }",
	 NULL, true},
	{"(float[{a},{b},7,6] x) => (float[N,M,P,Q] y) {"
	 " y = AveragePool<kernel_shape=[3,2],pads=[1,1,1,0],count_include_pad=1>(x) }",
	 NULL, true},
	{"(float[{a},{b},7,6] x) => (float[N,M,P,Q] y) {"
	 " y = AveragePool<kernel_shape=[3,2],pads=[1,1,1,0],strides=[2,2]>(x) }",
	 NULL, true},
	{"(float[{a},{b},5,6] x, float[1,{b},1,1] s) => (float[N,M,P,Q] y, float[N,M,P,Q] q) {"
	 " g = GlobalAveragePool(x) t = Mul(g, s) u = Sub(x, t) y = Mul(u, u) q = Div(g, s) }",
	 NULL, false},
	{"(float[{a},1,{b}] x, float[{c},1] w) => (float[N,M,P] y) {"
	 " s = Add(x, w) t = Max(s, x) u = Min(t, w) y = Exp(u) }",
	 NULL, false},
	{"(float[{a},{b*7}] x) => (float[N,M] y) { z = Softmax(x) t = Mul(z, z) y = LogSoftmax(t) "
	 "}",
	 NULL, true},
	{"(float[{a},{b},{c},{d}] x) => (float[N,M] y, float[P] u, float v) {"
	 " y = ReduceMean<axes=[2,3],keepdims=0>(x) u = ReduceMean<axes=[0,2,3],keepdims=0>(x)"
	 " v = ReduceMean<keepdims=0>(x) }",
	 NULL, false},
	{"(float[{a},{b},4,{c*2}] x, float[{d},{b},3,3] w) => (float[N,M] y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w) f = Flatten(z) y = Relu(f) }",
	 "w", true},
	{"(float[{a},{b},6,6] x, float[{b},{b},3,3] w, float[{b},{b},3,3] w2) => (float[N,M,P,Q] "
	 "y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w) r = Relu(z) t = Conv<pads=[1,1,1,1]>(r, w2) s = Add(t, x)"
	 " y = Relu(s) }",
	 NULL, true},
	/* normalisation: behind a convolution, channels last; of plain images; of rows */
	{"(float[{a},{c},5,{d+2}] x, float[{b*3},{c},3,3] w, float[{b*3}] s, float[{b*3}] o,"
	 " float[{b*3}] m, float[{b*3}] v) => (float[N,M,P,Q] y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w) q = Mul(v, v)"
	 " n = BatchNormalization<epsilon=0.1>(z, s, o, m, q) y = Relu(n) }",
	 "w s o m", false},
	{"(float[{a},{c},5,{d+2}] x, float[{b*3},{c},3,3] w, float[{b*3}] s, float[{b*3}] o,"
	 " float[{b*3}] m, float[{b*3}] v) => (float[N,M,P,Q] y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w) q = Mul(v, v)"
	 " n = BatchNormalization<epsilon=0.1>(z, s, o, m, q) y = Sigmoid(n) }",
	 "w s o m", true},
	{"(float[{a+3},{c},5,{d}] x, float[{b*3},{c},1,1] w, float[{b*3}] s, float[{b*3}] o,"
	 " float[{b*3}] m, float[{b*3}] v) => (float[N,M,P,Q] y, float[C] m2, float[C] v2) {"
	 " z = Conv(x, w)"
	 " n, m2, v2 = BatchNormalization<training_mode=1,epsilon=0.1>(z, s, o, m, v)"
	 " t = Tanh(n) y = Mul(t, z) }",
	 NULL, true},
	{"(float[{a},{b},3,{d*4}] x, float[{b}] s, float[{b}] o, float[{b}] m, float[{b}] v) =>"
	 " (float[N,M,P,Q] y) { q = Mul(v, v) z = BatchNormalization<epsilon=0.1>(x, s, o, m, q)"
	 " y = Mul(z, z) }",
	 NULL, true},
	{"(float[{a*40},{b*2}] x, float[{b*2}] s, float[{b*2}] o, float[{b*2}] m, float[{b*2}] v) "
	 "=>"
	 " (float[N,M] y) { z, m2, v2 = BatchNormalization<training_mode=1,epsilon=0.1>"
	 "(x, s, o, m, v) y = Mul(z, z) }",
	 NULL, true},
	{"(float[{a},{b},{c*5}] x, float[{c*5}] s, float[{c*5}] o) =>"
	 " (float[N,M,P] y, float[N,M,P] m, float[N,M,P] r) {"
	 " y, m, r = LayerNormalization<epsilon=0.01>(x, s, o) }",
	 NULL, false},
	{"(float[{a},{b},{c}] x, float[{b},{c}] s) => (float[N,M,P] y) {"
	 " z = LayerNormalization<axis=1,epsilon=0.1>(x, s) y = Sigmoid(z) }",
	 NULL, true},
	/* transposed convolutions */
	{"(float[{a},{c},4,{d}] x, float[{c},{b},3,2] w, float[{b}] v) => (float[N,M,P,Q] y) {"
	 " z = ConvTranspose<strides=[2,1],pads=[1,0,0,1],output_padding=[1,0]>(x, w, v)"
	 " y = Relu(z) }",
	 NULL, true},
	{"(float[{a},{b*2},3,{d}] x, float[{b*2},{c},2,2] w) => (float[N,M,P,Q] y) {"
	 " r = Relu(x) z = ConvTranspose<strides=[2,2],group=2>(r, w) y = Tanh(z) }",
	 "w", true},
	{"(float[{a},{c},{d+3}] x, float[{c},{b},4] w, float[{b}] v) => (float[N,M,P] y) {"
	 " y = ConvTranspose<strides=[3],dilations=[2]>(x, w, v) }",
	 "w v", true},
	/* convolutions: each channel its own; an axis of one; more windows than a block */
	{"(float[{a},{b*3},6,{d+2}] x, float[{b*3},1,3,3] w, float[{b*3}] v) =>"
	 " (float[N,M,P,Q] y) {"
	 " z = Conv<group={b*3},pads=[1,1,1,1],strides=[2,1]>(x, w, v) y = Relu(z) }",
	 "w v", true},
	{"(float[{a},{b*3},{d+8}] x, float[{b*3},1,3] w) => (float[N,M,P] y) {"
	 " z = Conv<group={b*3},dilations=[2]>(x, w) y = Sigmoid(z) }",
	 NULL, true},
	{"(float[{a},{c*3},{d+8},1] x, float[{b*3},{c*3},5,1] w, float[{b*3}] v) =>"
	 " (float[N,M,P,Q] y) { z = Conv<pads=[2,0,1,0]>(x, w, v) y = Relu(z) }",
	 NULL, true},
	{"(float[1,{c*3},40,{d+50}] x, float[{b},{c*3},3,5] w) => (float[N,M,P,Q] y) {"
	 " z = Conv<pads=[1,2,1,2]>(x, w) y = MaxPool<kernel_shape=[2,2],strides=[2,2]>(z) }",
	 NULL, true},
	/* copies, with channels last and plain */
	{"(float[{a},{c},6,{d}] x, float[{b},{c},3,3] w, float[{a},{c*2},6,{d}] z) =>"
	 " (float[N,M,P,Q] y, float[Q,M,N,P] t) {"
	 " u = Conv<pads=[1,1,1,1]>(x, w) r = Relu(u) y = Concat<axis=1>(r, z, x, r)"
	 " t = Transpose<perm=[3,1,0,2]>(r) }",
	 "w", true},
	{"(float[{a},{c},6,{d}] x, float[{b*3},{c},3,3] w) =>"
	 " (float[N,M,P,Q] y, float[A,B,C,D] v, float[E,F,G,H] s, float[I,J,K,L] p) {"
	 " n = Constant<value_ints=[{b},{b*2}]>() u = Conv<pads=[1,1,1,1]>(x, w)"
	 " y, v = Split<axis=1>(u, n) f = Constant<value_ints=[5,-1]>()"
	 " e = Constant<value_ints=[0,-100]>() q = Constant<value_ints=[2,1]>()"
	 " k = Constant<value_ints=[-2,-1]>() s = Slice(u, f, e, q, k)"
	 " g = Constant<value_ints=[0,1,2,0,1,0,0,3]>() h = Constant<value_float=0.5>()"
	 " p = Pad(u, g, h) }",
	 "w", false},
	{"(float[{a},1,{c}] x, float[{b}] z) => (float[N,M,P] y, float[P,M,N] t, float[A,B] v) {"
	 " n = Constant<value_ints=[{a},{b},{c}]>() y = Expand(x, n) t = Transpose(y)"
	 " k = Constant<value_ints=[3,1]>() v = Expand(z, k) }",
	 NULL, false},
	{"(float[{a},{b},4,{d}] x) => (float[N,P,Q,M] y, float[A,B,C,D] v) {"
	 " r = MaxPool<kernel_shape=[1,1]>(x) y = Transpose<perm=[0,2,3,1]>(r)"
	 " s = Mul(y, y) v = Transpose<perm=[0,3,1,2]>(s) }",
	 NULL, true},
	/* functions of one number, and two that are one */
	{"(float[{a},{b},3,{c}] x, float[{b},1,1] s) => (float[N,M,P,Q] y, float[N,M,P,Q] v,"
	 " float[N,M,1,1] g) {"
	 " q = Mul(x, x) o = Constant<value_float=0.5>() p = Add(q, o) l = Log(p)"
	 " two = Constant<value_float=2.0>() h = Pow(l, two) r = Pow(p, o)"
	 " m = Constant<value_float=-1.0>() i = Pow(p, m) w = Reciprocal(r) c = Clip(h, o, two)"
	 " d = HardSwish(x) e = HardSigmoid<alpha=0.3>(x) f = PRelu(x, s)"
	 " y = Sum(c, i, w, d) v = Sum(e, f, l) g = GlobalMaxPool(x) }",
	 NULL, false},
	/* residual sums: of a block, of its shortcut, and where memory may not be taken over */
	{"(float[{a},{b},6,{d}] x, float[{b},{b},3,3] w, float[{b},{b},3,3] u, float[{b}] v) =>"
	 " (float[N,M,P,Q] y) { p = Conv<pads=[1,1,1,1]>(x, w) r = Relu(p)"
	 " q = Conv<pads=[1,1,1,1]>(r, u, v) s = Add(q, r) t = Relu(s)"
	 " c = Conv<pads=[1,1,1,1]>(t, w) e = Conv<pads=[1,1,1,1]>(x, u) f = Add(e, c)"
	 " y = Relu(f) }",
	 "w u v", true},
	{"(float[{a},{b},6,{d}] x, float[{b},{b},3,3] w) => (float[N,M,P,Q] y, float[N,M,P,Q] r) {"
	 " p = Conv<pads=[1,1,1,1]>(x, w) r = Relu(p) q = Conv<pads=[1,1,1,1]>(r, w)"
	 " y = Add(r, q) }",
	 "w", true},
	{"(float[{a},{b},6,{d}] x, float[{b},{b},3,3] w) => (float[N,M,P,Q] y, float[N,M,P,Q] z) {"
	 " p = Conv<pads=[1,1,1,1]>(x, w) r = Relu(p) n = Neg(r) q = Conv<pads=[1,1,1,1]>(n, w)"
	 " y = Add(r, q) z = Mul(r, n) }",
	 "w", true},
	/* to a grid of integers and back */
	{"(float[{a},{b},6,{d}] x) => (float[N,M,P,Q] y, float[N,M,P,Q] z) {"
	 " s = Constant<value = float {0.0625}>() o = Constant<value = uint8 {128}>()"
	 " u = MaxPool<kernel_shape=[2,1]>(x) q = QuantizeLinear(u, s, o)"
	 " y = DequantizeLinear(q, s, o) l = Constant<value = int8 {-3}>()"
	 " t = Constant<value = float {0.0078125}>() r = QuantizeLinear(x, t, l)"
	 " z = DequantizeLinear(r, s, l) }",
	 NULL, false},
	/* as many elements, one axis less: the lesser operand is not channels last */
	{"(float[1,{c},6,{d}] x, float[{b},{c},3,3] w, float[{b},6,{d}] s) => (float[N,M,P,Q] y) {"
	 " z = Conv<pads=[1,1,1,1]>(x, w) y = Mul(s, z) }",
	 "w", true},
	{"(float[{a},{b}] x) => (float[N,M] y) {"
	 " e = Erf(x) s = Sqrt(e) n = Neg(x) q = Abs(n) p = Add(q, e) l = LeakyRelu<alpha=0.2>(n)"
	 " t = Sigmoid(p) y = Mul(t, l) }",
	 NULL, false},
	{"(float[{a},{b},7,6] x) => (float[N,M,P,Q] y) {" /* windows in the padding only */
	 " y = AveragePool<kernel_shape=[1,2],pads=[1,2,1,2]>(x) }",
	 NULL, true},
	/* Weights and scales that are computed may have their channels last. */
	{"(float[{a},3,9,8] x, float[{b},3,5,4] k) => (float[N,M,P,Q] y) {"
	 " w = MaxPool<kernel_shape=[2,2]>(k) y = Conv(x, w) }",
	 NULL, true},
	{"(float[{a},{b},4,3] x, float[{b},{c},4,4] k, float[{c}] v) => (float[N,M,P,Q] y) {"
	 " w = MaxPool<kernel_shape=[2,2]>(k) y = ConvTranspose(x, w, v) }",
	 NULL, true},
	{"(float[{a},3,4,5] x, float[3,4,6] k, float[3,4,6] l) => (float[N,3,4,5] y) {"
	 " s = MaxPool<kernel_shape=[2]>(k) b = AveragePool<kernel_shape=[2]>(l)"
	 " y = LayerNormalization<axis=1>(x, s, b) }",
	 NULL, true},
	/* Sums start from an addend that is no operand. */
	{"(float[4,4,4,4] k) => (float[4,4,3,3] y) { w = MaxPool<kernel_shape=[2,2]>(k)"
	 " x = Neg(w) h = Conv<pads=[1,1,1,1]>(x, w) y = Add(h, w) }",
	 NULL, false},
};

static uint32_t next(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

/* The text with its sizes filled in. */
static char *with_sizes(const char *text, uint32_t *state, bool large)
{
	int64_t size[26];
	char *out = calloc(1, 8192), *to = out;
	for (int i = 0; i < 26; i++)
		size[i] = 1 + next(state) % (large ? 40 : 9);
	to += sprintf(out, "<ir_version: 8, opset_import: [\"\" : 17]> g ");
	while (*text) {
		if (*text != '{' || text[1] < 'a' || text[1] > 'z' || !strchr("}*+", text[2])) {
			*to++ = *text++;
			continue;
		}
		int64_t n = size[text[1] - 'a'];
		char op = text[2];
		const char *end = strchr(text, '}');
		int k = op == '}' ? 0 : atoi(text + 3);
		n = op == '*' ? n * k : op == '+' ? n + k : n;
		to += sprintf(to, "%lld", (long long)n);
		text = end + 1;
	}
	return out;
}

static void fill(pai_tensor *t, uint32_t *state)
{
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		((float *)t->data)[i] = (float)(next(state) % 2001) / 1000.0f - 1;
}

static void report(pai_ctx *ctx)
{
	for (int i = 0; i < pai_diag_count(ctx); i++)
		pai_diag_print(pai_diag_get(ctx, i), stderr, false);
}

#define OK(expr)                               \
	do {                                   \
		pai_status ok_ = (expr);       \
		if (ok_ != PAI_OK)             \
			report(ctx);           \
		assert_int_equal(ok_, PAI_OK); \
	} while (0)

static pai_model *parse(pai_ctx *ctx, const char *text)
{
	pai_model *m;
	OK(pai_text_parse(ctx, "test", text, strlen(text), &m));
	OK(pai_infer(m));
	return m;
}

/* Live values never share bytes, unless one has its memory in the other by intent. */
static void check_memory(const pai_plan *p)
{
	for (int i = 0; i < p->slots.n; i++) {
		const pai_slot *a = p->slots.at[i];
		if (a->place != PAI_IN_ARENA || a->root != a || a->first < 0)
			continue;
		assert_true(a->offset + a->tensor.nbytes <= p->bytes);
		for (int k = 0; k < i; k++) {
			const pai_slot *b = p->slots.at[k];
			if (b->place != PAI_IN_ARENA || b->root != b || b->first < 0 ||
			    a->last < b->first || b->last < a->first)
				continue;
			assert_true(a->offset + a->tensor.nbytes <= b->offset ||
				    b->offset + b->tensor.nbytes <= a->offset);
		}
	}
}

/* Both sum in float, in different orders: a few ulp of the largest value for each of the terms that
 * meet in it, which the relative part covers for the sizes here. */
static void compare(const char *text, const pai_tensor *want, const pai_tensor *got)
{
	double largest = 1e-3, worst = 0;
	assert_int_equal(want->dtype, got->dtype);
	assert_int_equal(want->nbytes, got->nbytes);
	for (int64_t i = 0; i < pai_tensor_nelem(want); i++) {
		double w = pai_tensor_get(want, i), g = pai_tensor_get(got, i);
		assert_int_equal(isnan(w) != 0, isnan(g) != 0);
		if (isnan(w))
			continue;
		largest = fmax(largest, fabs(w));
		worst = fmax(worst, fabs(w - g));
	}
	if (worst > 2e-5 * largest)
		print_error("%s\nof \"%s\": differs by %g, largest value %g\n", text,
			    want->name ? want->name : "", worst, largest);
	assert_true(worst <= 2e-5 * largest);
}

typedef struct setup {
	pai_ctx *ctx;
	pai_model *m;
	pai_tensor *in[24];
	int n_in, n_keep;
	pai_value *keep[24];
} setup;

static void prepare(setup *s, const graph_case *c, const char *text, uint32_t *state)
{
	pai_ctx *ctx = s->ctx;
	pai_value *wrt[24], *grads[24];
	int n = 0;
	s->m = parse(ctx, text);
	pai_graph *g = s->m->graph;
	for (int i = 0; i < g->inputs.n; i++) {
		pai_value *v = g->inputs.at[i];
		pai_tensor *t = pai_tensor_new(s->m->arena, PAI_FLOAT, v->type.rank, v->type.dims);
		fill(t, state);
		const char *at = c->weights ? strstr(c->weights, v->name) : NULL;
		if (at && (at[strlen(v->name)] == ' ' || !at[strlen(v->name)]))
			v->init = t;
		else
			s->in[s->n_in++] = t;
		wrt[n++] = v;
	}
	if (!c->grad)
		return;
	OK(pai_autodiff(s->m, 1, &g->outputs.at[0], NULL, n, wrt, grads));
	for (int i = 0; i < n; i++)
		if (grads[i])
			s->keep[s->n_keep++] = grads[i];
}

static void run_case(const graph_case *c, uint32_t seed, bool large, pai_plan_options fast)
{
	uint32_t state = seed;
	char *text = with_sizes(c->text, &state, large);
	setup s = {.ctx = pai_ctx_new(NULL)};
	pai_ctx *ctx = s.ctx;
	ctx->threads = 2;
	prepare(&s, c, text, &state);
	const pai_tensor *want[32], *got[32];
	pai_plan_options slow = {.backend = PAI_REFERENCE, .n_keep = s.n_keep, .keep = s.keep};
	fast.n_keep = s.n_keep;
	fast.keep = s.keep;
	pai_plan *reference, *p;
	const pai_tensor *const *in = (const pai_tensor *const *)s.in;
	OK(pai_plan_new(ctx, s.m->graph, s.n_in, in, &slow, &reference));
	OK(pai_plan_new(ctx, s.m->graph, s.n_in, in, &fast, &p));
	check_memory(reference);
	check_memory(p);
	OK(pai_plan_run(reference, in, want));
	for (int round = 0; round < 2; round++) {
		OK(pai_plan_run(p, in, got));
		for (int i = 0; i < p->n_outputs; i++)
			compare(text, want[i], got[i]);
	}
	pai_plan_free(p);
	pai_plan_free(reference);
	pai_model_free(s.m);
	pai_ctx_free(ctx);
	free(text);
}

/* Seeds from LARGE on make large cases, of which one is enough where each takes thirty times as
 * long.
 */
#ifdef __SANITIZE_ADDRESS__
enum { LARGE = 10, SEEDS = 10 };
#else
enum { LARGE = 10, SEEDS = 12 };
#endif

static void test_fast_equals_reference(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *text = cases[i].text; /* its seeds stay when cases are put before it */
		uint32_t own = (uint32_t)pai_hash(PAI_HASH, text, strlen(text));
		for (uint32_t seed = 1; seed <= SEEDS; seed++)
			run_case(&cases[i], seed * 7919 + own, seed >= LARGE,
				 (pai_plan_options){.threads = seed % 2 ? 1 : 2,
						    .no_onednn = seed % 3 == 0});
	}
}

static void run_text(const char *text, int n_in, pai_tensor *const *in, pai_backend backend,
		     const float *want, int n_want)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, text);
	pai_plan *p;
	const pai_tensor *out[4];
	pai_plan_options o = {.backend = backend};
	OK(pai_plan_new(ctx, m->graph, n_in, (const pai_tensor *const *)in, &o, &p));
	for (int round = 0; round < 2; round++) {
		OK(pai_plan_run(p, (const pai_tensor *const *)in, out));
		assert_int_equal(pai_tensor_nelem(out[0]), n_want);
		for (int i = 0; i < n_want; i++)
			assert_float_equal(pai_tensor_get(out[0], i), want[i], 1e-6);
	}
	pai_plan_free(p);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

static pai_tensor *floats(pai_arena *a, int n, const float *v)
{
	pai_tensor *t = pai_tensor_new(a, PAI_FLOAT, 1, (int64_t[]){n});
	memcpy(t->data, v, sizeof *v * (size_t)n);
	return t;
}

/* Bodies read outer values; a state that grows needs a plan for all shapes; shapes from contents.
 */
static void test_control_and_dynamic(void **unused)
{
	(void)unused;
	static const char head[] =
		"<ir_version: 8, opset_import: [\"\" : 13, \"pai.internal\" : 1]> g ";
	static const struct {
		const char *text;
		float want[10];
		int n;
	} table[] = {
		{"(float[3] x) => (float[3] y) { c = Constant<value = bool {1}>()"
		 " y = If(c) <then_branch = t () => (float[3] a) { a = Add(x, x) },"
		 " else_branch = e () => (float[3] b) { b = Neg(x) }> }",
		 {2, -4, 6},
		 3},
		{"(float[3] x) => (float[3] y) { s = ReduceMean<keepdims=0>(x) z = Sub(s, s)"
		 " c = Less(s, z) y = If(c) <then_branch = t () => (float[3] a) { a = Add(x, x) },"
		 " else_branch = e () => (float[3] b) { b = Neg(x) }> }",
		 {-1, 2, -3},
		 3},
		{"(float[3] x) => (float[N] y) { n = Constant<value = int64 {7}>()"
		 " c = Constant<value = bool {1}>() e = Constant<value = float[1] {0.5}>()"
		 " y = Loop(n, c, e) <body = b (int64 i, bool k, float[M] s) =>"
		 " (bool k2, float[Q] s2) { k2 = Identity(k) f = Cast<to=1>(i)"
		 " o = Constant<value = int64[1] {1}>() r = Reshape(f, o)"
		 " s2 = Concat<axis=0>(s, r) }> }",
		 {0.5, 0, 1, 2, 3, 4, 5, 6},
		 8},
		/* NaN: of a C that does not count, and the maximum; zero points beyond float */
		{"(float[3] x) => (float[1,3] y) { a = Constant<value = float[1,1] {2}>()"
		 " b = Constant<value = float[1,3] {1, 2, 3}>() c = Log(x)"
		 " y = Gemm<beta = 0.0>(a, b, c) }",
		 {2, 4, 6},
		 3},
		{"(float[3] x) => (float[1,1,1,3] y) { s = Constant<value_ints = [1, 1, 1, 3]>()"
		 " l = Log(x) a = Reshape(l, s) m = MaxPool<kernel_shape = [1, 3]>(a)"
		 " d = Constant<value = float[1,1,1,1] {5}>()"
		 " y = pai.internal.MaxPoolGrad<kernel_shape = [1, 3]>(a, m, d) }",
		 {0, 5, 0},
		 3},
		{"(float[3] x) => (float[3] y) { z = Constant<value = int32 {16777217}>()"
		 " i = Cast<to = 6>(x) q = Add(i, z) s = Constant<value = float {0.5}>()"
		 " y = DequantizeLinear(q, s, z) }",
		 {0.5, -1, 1.5},
		 3},
		{"(float[3] x) => (float[N] y) { e = ArgMax(x) b = Constant<value = int64[1] {0}>()"
		 " r = Slice(x, b, e) t = Relu(r) y = Add(t, t) }",
		 {2, 0},
		 2},
		{"(float[3] x) => (float[3] y) { z = Constant<value = float {10}>()"
		 " f, y = Scan<num_scan_inputs=1, body = b (float s, float v) => (float s2, float "
		 "w)"
		 " { s2 = Add(s, v) w = Mul(s2, v) }>(z, x) }",
		 {11, -18, 36},
		 3},
	};
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	pai_tensor *x = floats(a, 3, (float[]){1, -2, 3});
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char *text = pai_arena_printf(a, "%s%s", head, table[i].text);
		run_text(text, 1, &x, PAI_FAST, table[i].want, table[i].n);
		run_text(text, 1, &x, PAI_REFERENCE, table[i].want, table[i].n);
	}
	pai_arena_free(a);
	pai_ctx_free(ctx);
}

/* In loops within loops every iteration draws anew, every run the same. */
static void test_random_in_loops(void **unused)
{
	(void)unused;
	enum { N = 24 };
	static const char text[] =
		"<ir_version: 8, opset_import: [\"\" : 13]> g (float[1] x) => (float[M,N,1] y) {"
		" n = Constant<value = int64 {6}>() m = Constant<value = int64 {4}>()"
		" c = Constant<value = bool {1}>()"
		" y = Loop(n, c) <body = b (int64 i, bool k) => (bool e, float[N,1] o) {"
		" e = Identity(k) o = Loop(m, k) <body = d (int64 j, bool l) =>"
		" (bool f, float[1] r) { f = Identity(l) r = RandomUniformLike(x) }> }> }";
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, text);
	pai_tensor *x = floats(m->arena, 1, (float[]){0});
	const pai_tensor *in = x, *out;
	float first[N];
	for (int backend = PAI_FAST; backend <= PAI_REFERENCE; backend++) {
		pai_plan_options o = {.backend = (pai_backend)backend};
		pai_plan *p;
		OK(pai_plan_new(ctx, m->graph, 1, &in, &o, &p));
		for (int round = 0; round < 3; round++) {
			pai_plan_set_step(p, round / 2);
			OK(pai_plan_run(p, &in, &out));
			assert_int_equal(out->nbytes, sizeof first);
			if (backend == PAI_FAST && !round)
				memcpy(first, out->data, sizeof first);
			bool same = !memcmp(out->data, first, sizeof first);
			assert_int_equal(same, round < 2);
		}
		pai_plan_free(p);
	}
	for (int i = 0; i < N; i++)
		for (int k = 0; k < i; k++)
			assert_true(first[i] != first[k]);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* The convolutional network of the benchmark with its gradients. */
static const graph_case lenet = {
	"(float[{a},1,28,28] x, float[16,1,5,5] w1, float[16] b1, float[32,16,5,5] w2,"
	" float[32] b2, float[128,1568] w3, float[128] b3, float[10,128] w4) => (float[N,10] y) {"
	" c1 = Conv<pads=[2,2,2,2]>(x, w1, b1) r1 = Relu(c1)"
	" p1 = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r1)"
	" c2 = Conv<pads=[2,2,2,2]>(p1, w2, b2) r2 = Relu(c2)"
	" p2 = MaxPool<kernel_shape=[2,2],strides=[2,2]>(r2) f = Flatten(p2)"
	" g = Gemm<transB=1>(f, w3, b3) h = Relu(g) y = Gemm<transB=1>(h, w4) }",
	NULL, true};

static pai_plan *lenet_plan(setup *s, int threads)
{
	uint32_t state = 5;
	pai_ctx *ctx = s->ctx = pai_ctx_new(NULL);
	pai_plan *p;
	ctx->threads = 2;
	char *text = with_sizes(lenet.text, &state, false);
	prepare(s, &lenet, text, &state);
	free(text);
	pai_plan_options o = {.threads = threads, .n_keep = s->n_keep, .keep = s->keep};
	OK(pai_plan_new(ctx, s->m->graph, s->n_in, (const pai_tensor *const *)s->in, &o, &p));
	return p;
}

static void lenet_free(setup *s, pai_plan *p)
{
	pai_plan_free(p);
	pai_model_free(s->m);
	pai_ctx_free(s->ctx);
}

/* No step of the benchmark's networks is a reference implementation, ours or oneDNN's. */
static void test_no_reference_on_hot_path(void **unused)
{
	(void)unused;
	setup s = {0};
	pai_plan *p = lenet_plan(&s, 1);
	int conv = 0;
	for (int i = 0; i < pai_plan_steps(p); i++) {
		pai_step_info info = pai_plan_step(p, i);
		bool fill_of_ones = info.node && (pai_node_is(info.node, "Expand") ||
						  pai_node_is(info.node, "ConstantOfShape"));
		print_message("%-24s %s\n", info.name, info.impl);
		if (!fill_of_ones)
			assert_null(strstr(info.impl, "ref"));
		conv += !strncmp(info.name, "Conv", 4) && strncmp(info.impl, "own", 3) != 0;
	}
	assert_int_equal(conv, 6); /* two forward, two by X, two by W: all by oneDNN */
	lenet_free(&s, p);
}

/* A network of today: residual, normalised, grouped, joined and taken apart; with its gradients. */
static const graph_case residual = {
	"(float[{a},3,32,32] x, float[32,3,3,3] w1, float[32] s1, float[32] o1, float[32] m1,"
	" float[32] v1, float[32,1,3,3] w2, float[32,32,1,1] w3, float[32] s2, float[32] o2,"
	" float[32] m2, float[32] v2, float[32,16,2,2] w4, float[16] b4, float[48,10] w5) =>"
	" (float[N,10] y) {"
	" c1 = Conv<pads=[1,1,1,1],strides=[2,2]>(x, w1)"
	" n1, a1, a2 = BatchNormalization<training_mode=1>(c1, s1, o1, m1, v1) r1 = Relu(n1)"
	" c2 = Conv<pads=[1,1,1,1],group=32>(r1, w2) c3 = Conv(c2, w3)"
	" n2, a3, a4 = BatchNormalization<training_mode=1>(c3, s2, o2, m2, v2) t = Add(n2, r1)"
	" r2 = Relu(t) z = ConvTranspose<strides=[2,2]>(r2, w4, b4)"
	" p = AveragePool<kernel_shape=[2,2],strides=[2,2]>(z) j = Concat<axis=1>(p, r2)"
	" k = Constant<value_ints=[24,24]>() h1, h2 = Split<axis=1>(j, k) l = Tanh(h2)"
	" u = Concat<axis=1>(h1, l) f = Transpose<perm=[0,2,3,1]>(u)"
	" g = ReduceMean<axes=[1,2],keepdims=0>(f)"
	" y = MatMul(g, w5) }",
	NULL, true};

static void test_no_reference_in_residual(void **unused)
{
	(void)unused;
	setup s = {.ctx = pai_ctx_new(NULL)};
	pai_ctx *ctx = s.ctx;
	uint32_t state = 5;
	pai_plan *p;
	char *text = with_sizes(residual.text, &state, false);
	prepare(&s, &residual, text, &state);
	free(text);
	pai_plan_options o = {.threads = 1, .n_keep = s.n_keep, .keep = s.keep};
	OK(pai_plan_new(ctx, s.m->graph, s.n_in, (const pai_tensor *const *)s.in, &o, &p));
	for (int i = 0; i < pai_plan_steps(p); i++) {
		pai_step_info info = pai_plan_step(p, i);
		bool fill_of_ones = info.node && pai_node_is(info.node, "ConstantOfShape");
		print_message("%-24s %s\n", info.name, info.impl);
		if (!fill_of_ones)
			assert_null(strstr(info.impl, "ref"));
	}
	lenet_free(&s, p);
}

/* What fuses does so: one step for a residual block's end, one for a pair of quantisers. */
static void test_fusions(void **unused)
{
	(void)unused;
	static const struct {
		graph_case c;
		const char *name;
	} table[] = {
		{{"(float[1,8,16,16] x, float[8,8,3,3] w) => (float[N,M,P,Q] y) {"
		  " p = Conv<pads=[1,1,1,1]>(x, w) r = Relu(p) c = Conv<pads=[1,1,1,1]>(r, w)"
		  " q = Conv<pads=[1,1,1,1]>(c, w) s = Add(q, r) y = Relu(s) }",
		  "w", false},
		 "Add+Relu"},
		{{"(float[1,8,16,16] x, float[8] s, float[8] o, float[8] m, float[8] v) =>"
		  " (float[N,M,P,Q] y) { n = BatchNormalization(x, s, o, m, v) y = Relu(n) }",
		  "s o m v", false},
		 "BatchNormalization+Relu"},
		{{"(float[4,4] x) => (float[N,M] y) { s = Constant<value = float {0.5}>()"
		  " q = QuantizeLinear(x, s) y = DequantizeLinear(q, s) }",
		  NULL, false},
		 "QuantizeLinear+DequantizeLinear"},
	};
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		setup s = {.ctx = pai_ctx_new(NULL)};
		pai_ctx *ctx = s.ctx;
		uint32_t state = 5;
		pai_plan *p;
		char *text = with_sizes(table[i].c.text, &state, false);
		prepare(&s, &table[i].c, text, &state);
		free(text);
		OK(pai_plan_new(ctx, s.m->graph, s.n_in, (const pai_tensor *const *)s.in, NULL,
				&p));
		int found = 0;
		for (int k = 0; k < pai_plan_steps(p); k++)
			found += !strcmp(pai_plan_step(p, k).name, table[i].name);
		assert_int_equal(found, 1);
		lenet_free(&s, p);
	}
}

/* A small convolution: own code in a plan for a run or two, oneDNN where it runs
 * often. */
static void test_often(void **unused)
{
	(void)unused;
	for (int often = 0; often < 2; often++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m = parse(ctx, "<ir_version: 8, opset_import: [\"\" : 17]> g "
					  "(float[1,16,14,14] x,"
					  " float[32,16,3,3] w) => (float[N,M,P,Q] y) {"
					  " y = Conv<pads=[1,1,1,1]>(x, w) }");
		pai_value *w = pai_graph_value(m->graph, "w");
		w->init = pai_tensor_new(m->arena, PAI_FLOAT, 4, (int64_t[]){32, 16, 3, 3});
		const pai_tensor *x =
			pai_tensor_new(m->arena, PAI_FLOAT, 4, (int64_t[]){1, 16, 14, 14});
		pai_plan_options o = {.often = often};
		pai_plan *p;
		bool own = false;
		OK(pai_plan_new(ctx, m->graph, 1, &x, &o, &p));
		for (int i = 0; i < pai_plan_steps(p); i++)
			own |= !strcmp(pai_plan_step(p, i).name, "Conv") &&
			       !strncmp(pai_plan_step(p, i).impl, "own", 3);
		assert_int_equal(own, !often);
		pai_plan_free(p);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

static void test_equal_bits(void **unused)
{
	(void)unused;
	for (int threads = 1; threads <= 2; threads++) {
		setup a = {0}, b = {0};
		pai_plan *p = lenet_plan(&a, threads), *q = lenet_plan(&b, threads);
		const pai_tensor *x[16], *y[16];
		pai_ctx *ctx = a.ctx;
		OK(pai_plan_run(p, (const pai_tensor *const *)a.in, x));
		ctx = b.ctx;
		OK(pai_plan_run(q, (const pai_tensor *const *)b.in, y));
		for (int i = 0; i < p->n_outputs; i++)
			assert_memory_equal(x[i]->data, y[i]->data, x[i]->nbytes);
		lenet_free(&a, p);
		lenet_free(&b, q);
	}
}

/* Own kernels give the same bits for any number of threads. */
static void test_threads_do_not_matter(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const pai_tensor *x[16], *y[16];
		uint32_t state = 77;
		char *text = with_sizes(cases[i].text, &state, true);
		setup s = {.ctx = pai_ctx_new(NULL)};
		pai_ctx *ctx = s.ctx;
		pai_plan *p, *q;
		ctx->threads = 2;
		prepare(&s, &cases[i], text, &state);
		pai_plan_options one = {
			.threads = 1, .no_onednn = true, .n_keep = s.n_keep, .keep = s.keep};
		pai_plan_options two = one;
		two.threads = 2;
		const pai_tensor *const *in = (const pai_tensor *const *)s.in;
		OK(pai_plan_new(ctx, s.m->graph, s.n_in, in, &one, &p));
		OK(pai_plan_new(ctx, s.m->graph, s.n_in, in, &two, &q));
		OK(pai_plan_run(p, in, x));
		OK(pai_plan_run(q, in, y));
		for (int k = 0; k < p->n_outputs; k++)
			assert_memory_equal(x[k]->data, y[k]->data, x[k]->nbytes);
		pai_plan_free(p);
		pai_plan_free(q);
		pai_model_free(s.m);
		pai_ctx_free(ctx);
		free(text);
	}
}

/* A wrong size or type of input is told, not computed with. */
static void test_bad_inputs(void **unused)
{
	(void)unused;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, "<ir_version: 8, opset_import: [\"\" : 13]> g (float[N,3] x) =>"
				  " (float[N,3] y) { y = Relu(x) }");
	pai_tensor *three = pai_tensor_new(m->arena, PAI_FLOAT, 2, (int64_t[]){2, 3});
	pai_tensor *four = pai_tensor_new(m->arena, PAI_FLOAT, 2, (int64_t[]){2, 4});
	pai_tensor *ints = pai_tensor_new(m->arena, PAI_INT32, 2, (int64_t[]){2, 3});
	const pai_tensor *bad[] = {four, ints}, *good = three, *out;
	pai_plan *p;
	uint32_t state = 1;
	fill(three, &state);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pai_plan_new(ctx, m->graph, 1, &bad[i], NULL, &p), PAI_INVALID);
	assert_int_equal(pai_plan_new(ctx, m->graph, 0, NULL, NULL, &p), PAI_INVALID);
	OK(pai_plan_new(ctx, m->graph, 1, &good, NULL, &p));
	assert_int_equal(pai_plan_run(p, &bad[0], &out), PAI_INVALID);
	ctx->limits.run_bytes = 16;
	pai_plan *q;
	assert_int_equal(pai_plan_new(ctx, m->graph, 1, &good, NULL, &q), PAI_LIMIT);
	pai_plan_free(p);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* Memory of the caller's is written in place; a value bound twice goes to both
 * addresses. */
static void test_bound_values(void **unused)
{
	(void)unused;
	for (int backend = PAI_FAST; backend <= PAI_REFERENCE; backend++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m =
			parse(ctx, "<ir_version: 8, opset_import: [\"\" : 13]> g (float[3] x,"
				   " float[3] w) => (float[3] y) {"
				   " a = Add(x, w) c = Constant<value = bool {1}>()"
				   " b = If(c) <then_branch = t () => (float[3] p) { p = "
				   "Neg(a) },"
				   " else_branch = e () => (float[3] q) { q = Relu(a) }>"
				   " y = Add(a, b) }");
		pai_value *w = pai_graph_value(m->graph, "w"), *a = pai_graph_value(m->graph, "a");
		pai_value *bound[] = {w, a, a, pai_graph_value(m->graph, "b")};
		w->init = floats(m->arena, 3, (float[]){9, 9, 9});
		float weights[] = {1, 2, 3}, one[3], two[3], three[3];
		void *data[] = {weights, one, two, three};
		pai_plan_options o = {.backend = (pai_backend)backend,
				      .n_bound = 4,
				      .bound = bound,
				      .bound_data = data};
		const pai_tensor *x = floats(m->arena, 3, (float[]){10, 20, 30}), *y;
		pai_plan *p;
		OK(pai_plan_new(ctx, m->graph, 1, &x, &o, &p));
		for (int round = 0; round < 2; round++) {
			weights[0] = (float)round;
			OK(pai_plan_run(p, &x, &y));
			const float want[] = {10 + (float)round, 22, 33};
			assert_memory_equal(one, want, sizeof want);
			assert_memory_equal(two, want, sizeof want);
			for (int i = 0; i < 3; i++)
				assert_float_equal(three[i], -want[i], 0);
			assert_float_equal(((float *)y->data)[2], 0, 0);
		}
		pai_plan_free(p);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

/* Shapes that change get a plan each, and the least recently used makes room. */
static void test_runner(void **unused)
{
	(void)unused;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = parse(ctx, "<ir_version: 8, opset_import: [\"\" : 13]> g (float[N] x) =>"
				  " (float[N] y) { y = Add(x, x) }");
	pai_runner *r;
	OK(pai_runner_new(ctx, m, NULL, &r));
	for (int round = 0; round < 2; round++)
		for (int64_t n = 1; n <= 20; n++) {
			pai_tensor *x = pai_tensor_new(m->arena, PAI_FLOAT, 1, &n);
			const pai_tensor *in = x, *out;
			for (int64_t i = 0; i < n; i++)
				((float *)x->data)[i] = (float)i;
			OK(pai_runner_run(r, &in, &out));
			assert_int_equal(out->dims[0], n);
			assert_float_equal(((float *)out->data)[n - 1], 2 * (float)(n - 1), 0);
		}
	pai_runner_free(r);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fast_equals_reference),
		cmocka_unit_test(test_control_and_dynamic),
		cmocka_unit_test(test_random_in_loops),
		cmocka_unit_test(test_no_reference_on_hot_path),
		cmocka_unit_test(test_no_reference_in_residual),
		cmocka_unit_test(test_fusions),
		cmocka_unit_test(test_often),
		cmocka_unit_test(test_equal_bits),
		cmocka_unit_test(test_threads_do_not_matter),
		cmocka_unit_test(test_bad_inputs),
		cmocka_unit_test(test_bound_values),
		cmocka_unit_test(test_runner),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
