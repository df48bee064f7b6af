/* test_update.c -- parameters that move while the step runs: fast plans, where products take the
 * updates over, against the reference; parameters that are read again after their gradient is made;
 * gradients that are views of parameters. */
#include "runtime/plan.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD "<ir_version: 8, opset_import: [\"\" : 17]>\n"
#define INIT(x) "\"pai.init." x "\": \"he_normal\""

/* All of one input x[N, 7] and three classes; weights a, b, c. */
static const struct network {
	const char *text;
	const char *fused; /* a step that a plan for one sample has; NULL: not looked at */
} networks[] = {
	{"(float[N,7] x, float[19,7] a, float[19] b, float[3,19] c) => (float[N,3] y) {"
	 " h = Gemm<transB=1>(x, a, b) r = Relu(h) y = Gemm<transB=1>(r, c) }",
	 "Gemm+sgd"},
	{"(float[N,7] x, float[7,130] a, float[1,130] b, float[130,3] c) => (float[N,3] y) {"
	 " h = MatMul(x, a) t = Add(h, b) r = Tanh(t) y = MatMul(r, c) }",
	 "Gemm+sgd"},
	/* weights on the left: their gradient is made before they are read by that of the input */
	{"(float[N,7] x, float[5,7] a, float[3,5] b, float[3,1] c) => (float[N,3] y) {"
	 " t = Transpose(x) h = MatMul(a, t) s = Sigmoid(h) z = MatMul(b, s) u = Add(z, c)"
	 " y = Transpose(u) }",
	 NULL},
	/* the same weights twice, once through a view */
	{"(float[N,7] x, float[7,7] a, float[7] b, float[7,3] c) => (float[N,3] y)"
	 " <int64[2] same = {7, 7}> { h = MatMul(x, a) r = Tanh(h) v = Reshape(a, same)"
	 " k = MatMul(r, v) q = Mul(k, b) y = MatMul(q, c) }",
	 NULL},
	/* one hidden neuron; weights that are also an addend */
	{"(float[N,7] x, float[7,1] a, float[3] b, float[1,3] c) => (float[N,3] y) {"
	 " h = MatMul(x, a) z = MatMul(h, c) w = Mul(c, b) y = Add(z, w) }",
	 NULL},
	{"(float[N,7] x, float[4,1,3] a, float[4] b, float[20,3] c) => (float[N,3] y)"
	 " <int64[3] image = {0, 1, 7}> { i = Reshape(x, image) h = Conv(i, a, b) r = Relu(h)"
	 " f = Flatten(r) y = MatMul(f, c) }",
	 "Gemm+sgd"},
};

static const char *const optimizers[] = {"sgd{lr=0.1}", "sgd{lr=0.1,momentum=0.9}",
					 "sgd{lr=0.1,momentum=0.9,nesterov=true,weight_decay=0.1}",
					 "adam{lr=0.01,eps=0.01}", "adamw{lr=0.01,eps=0.01}"};

typedef struct weights {
	float *at[3];
	size_t n[3];
} weights;

static pai_model *parse(pai_ctx *ctx, const char *text)
{
	pai_model *m;
	if (pai_text_parse(ctx, "m", text, strlen(text), &m) != PAI_OK || pai_infer(m) != PAI_OK)
		fail_msg("%s", pai_diag_get(ctx, 0)->text);
	return m;
}

static bool has_step(const pai_plan *p, const char *name)
{
	for (int i = 0; i < pai_plan_steps(p); i++)
		if (!strcmp(pai_plan_step(p, i).name, name))
			return true;
	return false;
}

static pai_tensor *batch(pai_arena *a, int n, bool labels)
{
	pai_random r = pai_random_new(3, 3, 0);
	pai_tensor *t = labels ? pai_tensor_new(a, PAI_INT64, 1, (int64_t[]){n})
			       : pai_tensor_new(a, PAI_FLOAT, 2, (int64_t[]){n, 7});
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		pai_tensor_set(t, i,
			       labels ? (double)(i % 3)
				      : (double)pai_random_normal(&r, (uint64_t)i));
	return t;
}

/* The weights after three steps. */
static weights train(const struct network *w, const char *optimizer, int n, pai_backend backend,
		     int threads, bool keep)
{
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_arena *a = pai_arena_new(ctx);
	ctx->threads = 2;
	pai_model *m =
		parse(ctx, pai_arena_printf(a,
					    HEAD "#@ graph metadata_props: [" INIT("a") ", " INIT(
						    "b") ", " INIT("c") "]\ng %s",
					    w->text));
	pai_item *items;
	int n_items;
	assert_int_equal(pai_model_initialize(m), PAI_OK);
	assert_int_equal(pai_items_parse(ctx, a, optimizer, &items, &n_items), PAI_OK);
	pai_session_options o = {.loss = pai_loss_find("cross-entropy"),
				 .optimizer = pai_optimizer_find(items[0].name),
				 .optimizer_settings = items,
				 .backend = backend,
				 .threads = threads,
				 .keep_gradients = keep};
	pai_session *s;
	const pai_tensor *x = batch(a, n, false), *labels = batch(a, n, true);
	if (pai_session_new(ctx, m, &o, &s) != PAI_OK)
		fail_msg("%s", pai_diag_get(ctx, 0)->text);
	for (int i = 0; i < 3; i++) {
		float loss;
		if (pai_session_step(s, &x, labels, &loss) != PAI_OK)
			fail_msg("%s", pai_diag_get(ctx, 0)->text);
		assert_int_equal(pai_session_gradient(s, "a") != NULL, keep);
	}
	if (n == 1 && backend == PAI_FAST && w->fused && items[0].name[0] == 's')
		assert_true(has_step(pai_session_plan(s), w->fused));
	assert_int_equal(pai_session_store(s, m), PAI_OK);
	weights out;
	for (int k = 0; k < 3; k++) {
		const pai_tensor *t = pai_graph_value(m->graph, (char[]){"abc"[k], 0})->init;
		out.n[k] = t->nbytes;
		out.at[k] = malloc(t->nbytes);
		memcpy(out.at[k], t->data, t->nbytes);
	}
	pai_session_free(s);
	pai_model_free(m);
	pai_arena_free(a);
	pai_ctx_free(ctx);
	return out;
}

static void drop(weights *w)
{
	for (int k = 0; k < 3; k++)
		free(w->at[k]);
}

static void compare(const struct network *w, const char *optimizer, int n)
{
	weights want = train(w, optimizer, n, PAI_REFERENCE, 1, false);
	weights kept = train(w, optimizer, n, PAI_FAST, 1, true);
	weights one = train(w, optimizer, n, PAI_FAST, 1, false);
	weights two = train(w, optimizer, n, PAI_FAST, 2, false);
	for (int k = 0; k < 3; k++) {
		assert_memory_equal(one.at[k], two.at[k], one.n[k]);
		assert_memory_equal(one.at[k], kept.at[k], one.n[k]);
		for (size_t i = 0; i < want.n[k] / sizeof(float); i++)
			if (!(fabsf(want.at[k][i] - one.at[k][i]) <= 2e-5f))
				fail_msg("%s, %s, batch %d: %c[%zu] is %g, not %g", w->text,
					 optimizer, n, "abc"[k], i, (double)one.at[k][i],
					 (double)want.at[k][i]);
	}
	drop(&want);
	drop(&kept);
	drop(&one);
	drop(&two);
}

static void test_networks(void **unused)
{
	static const int batches[] = {1, 2, 8, 9, 33};
	(void)unused;
	for (size_t i = 0; i < sizeof networks / sizeof *networks; i++)
		for (size_t o = 0; o < sizeof optimizers / sizeof *optimizers; o++)
			for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
				compare(&networks[i], optimizers[o], batches[b]);
}

typedef struct swap {
	float *at[2];
	int begun, moves[2];
	float loss;
} swap;

static pai_status begin(void *payload, float loss, const pai_tensor *output)
{
	assert_null(output);
	swap *s = payload;
	s->begun++;
	s->loss = loss;
	return loss < 0 ? PAI_NUMERIC : PAI_OK;
}

/* What fades from step to step must not end in subnormal numbers; nobody else is to notice. */
static bool flushes(void)
{
	volatile float small = 1e-30f, product = small * 1e-10f;
	return product == 0;
}

static void move(void *payload, int i, size_t from, size_t n, float scale, const float *g)
{
	swap *s = payload;
#ifdef __SSE__
	assert_true(flushes());
#endif
	assert_int_equal(s->begun, 1);
	s->moves[i] += (int)n;
	for (size_t k = 0; k < n; k++)
		s->at[i][from + k] -= scale * g[k];
}

/* Each of two parameters is the other's gradient, and both are read before and after. */
static void test_views(void **unused)
{
	static const char *const views[] = {"Identity", "Transpose"};
	(void)unused;
	for (int c = 0; c < 4; c++) {
		int backend = c % 2 ? PAI_REFERENCE : PAI_FAST;
		const char *view = views[c / 2];
		char text[512];
		snprintf(text, sizeof text,
			 HEAD "g (float[3] x, float[3] p, float[3] q) => (float[3] y, float loss)"
			      " <int64[1] flat = {3}> { loss = ReduceSum<keepdims=0>(x)"
			      " dp = %s(q) t = Reshape(p, flat) dq = %s(t)"
			      " u = Mul(t, x) y = Add(u, q) }",
			 view, view);
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m = parse(ctx, text);
		const char *names[] = {"p", "q", "dp", "dq"};
		pai_value *v[4];
		float p[] = {1, 2, 3}, q[] = {10, 20, 30};
		for (int i = 0; i < 4; i++)
			v[i] = pai_graph_value(m->graph, names[i]);
		for (int i = 0; i < 2; i++)
			v[i]->init = pai_tensor_new(m->arena, PAI_FLOAT, 1, (int64_t[]){3});
		swap s = {.at = {p, q}};
		pai_updates u = {.name = "swap",
				 .n = 2,
				 .parameters = v,
				 .gradients = v + 2,
				 .loss = pai_graph_value(m->graph, "loss"),
				 .payload = &s,
				 .begin = begin,
				 .move = move};
		pai_plan_options o = {.backend = (pai_backend)backend,
				      .n_bound = 2,
				      .bound = v,
				      .bound_data = (void *[]){p, q},
				      .updates = &u};
		pai_tensor *x = pai_tensor_new(m->arena, PAI_FLOAT, 1, (int64_t[]){3});
		for (int i = 0; i < 3; i++)
			((float *)x->data)[i] = (float)(i - 1);
		const pai_tensor *in = x, *out[2];
		pai_plan *plan;
		assert_int_equal(pai_plan_new(ctx, m->graph, 1, &in, &o, &plan), PAI_OK);
		assert_int_equal(pai_plan_run(plan, &in, out), PAI_OK);
		assert_memory_equal(p, ((float[]){-9, -18, -27}), sizeof p);
		assert_memory_equal(q, ((float[]){9, 18, 27}), sizeof q);
		assert_memory_equal(out[0]->data, ((float[]){9, 20, 33}), sizeof p);
		assert_true(s.moves[0] == 3 && s.moves[1] == 3 && s.loss == 0);
		assert_false(flushes());
		/* A loss that is refused moves nothing. */
		((float *)x->data)[0] = -9;
		assert_int_equal(pai_plan_run(plan, &in, out), PAI_NUMERIC);
		assert_memory_equal(p, ((float[]){-9, -18, -27}), sizeof p);
		assert_memory_equal(q, ((float[]){9, 18, 27}), sizeof q);
		pai_plan_free(plan);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

/* Adam by its formula, in double, for long and short memories; gradients fall by 10^7, then a great
 * weight comes to rest: what is small beside what went before must not be rounded away. */
static void test_adam(void **state)
{
	(void)state;
	static const double betas[][2] = {{0.9, 0.999}, {0, 0},       {0, 0.999},  {0.9, 0},
					  {0.3, 0.6},   {0.75, 0.25}, {1e-3, 1e-6}};
	static const double falls[] = {1, 1e4, 1e7};
	enum { N = 37, STEPS = 4 }; /* whole vectors and a rest */
	for (size_t c = 0; c < sizeof betas / sizeof *betas * 12; c++) {
		const double *beta = betas[c / 12], fall = falls[c / 4 % 3], lr = 1e-3, eps = 1e-8;
		const bool decoupled = c % 2;
		const double decay = c / 2 % 2 ? 1e-4 : 0;
		const pai_optimizer *o = pai_optimizer_find(decoupled ? "adamw" : "adam");
		double settings[] = {beta[0], beta[1], eps, decay};
		float p[N], g[N], s[2][N] = {0};
		double want[N], m[N] = {0}, v[N] = {0};
		for (int i = 0; i < N; i++)
			p[i] = (float)(want[i] = (double)(float)sin(i));
		for (int t = 1; t <= STEPS; t++) {
			for (int i = 0; i < N; i++) {
				g[i] = (float)((2 + cos(i + t)) * pow(fall, t == 1));
				double d = (double)g[i] + (decoupled ? 0 : decay * want[i]);
				m[i] = beta[0] * m[i] + (1 - beta[0]) * d;
				v[i] = beta[1] * v[i] + (1 - beta[1]) * d * d;
				double by = lr * m[i] / (1 - pow(beta[0], t)) /
					    (sqrt(v[i] / (1 - pow(beta[1], t))) + eps);
				want[i] = (decoupled ? 1 - lr * decay : 1) * want[i] - by;
			}
			pai_hyper h = {lr, (uint64_t)t, settings};
			pai_factors f = o->prepare(&h);
			assert_true(o->update(&f, N, 1, g, p, (float *[]){s[0], s[1]}));
			for (int i = 0; i < N; i++)
				if (!(fabs((double)p[i] - want[i]) <= 1e-6 * (1 + fabs(want[i]))))
					fail_msg("%s, betas %g %g, fall %g, step %d: %.9g, "
						 "expected %.9g",
						 o->name, beta[0], beta[1], fall, t, (double)p[i],
						 want[i]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_views),
		cmocka_unit_test(test_adam),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
