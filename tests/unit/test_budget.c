/* What runs may take: small models that ask for much are refused, before or while they run, with
 * the name of the limit; and a run gives back what it took. */
#include "compiler/compiler.h"
#include "runtime/runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <cmocka.h>

#define HEAD "<ir_version: 12, opset_import: [\"\" : 23, \"f\" : 1]> "
#define EXPAND(shape) "s = Constant<value = " shape ">() a = Expand(x, s) "
#define BODY "(int64 i, bool d, float[2] p) => (bool e, float[2] o) {e = Identity(d) "

static const struct bomb {
	const char *name, *limit, *text;
} bombs[] = {
	{"one large tensor", "run_bytes",
	 "g (float[1] x) => (float[60000,60000] a) {" EXPAND("int64[2] {60000, 60000}") "}"},
	{"a size that wraps", "run_bytes",
	 "g (float[1] x) => (float[?,?] a) {" EXPAND("int64[2] {6000000000, 6000000000}") "}"},
	{"several tensors at once", "run_bytes",
	 "g (float[1] x) => (float[9000000] a, float[9000000] b, float[9000000] c) {" EXPAND(
		 "int64[1] {9000000}") "b = Neg(a) c = Exp(b)}"},
	{"a size found by the run", "run_bytes",
	 "g (float[1] x) => (float[?] y) {z = Constant<value = float {0}>() b = ReduceMax(x)"
	 " h = Constant<value = float {1e12}>() c = Max(b, h)"
	 " d = Constant<value = float {1e3}>() y = Range(z, c, d)}"},
	{"matrix products", "run_work",
	 "g (float[1] x) => (float[2000,2000] y) {" EXPAND(
		 "int64[2] {2000, 2000}") "b = MatMul(a, a) c = MatMul(b, a) y = MatMul(c, a)"
					  " }"},
	{"a convolution", "run_work",
	 "g (float[1] x) => (float[?,?,?,?] y) {" EXPAND(
		 "int64[4] {1, 512, 100, 100}") "t = Constant<value = int64[4] {512, 512, 5, 5}>()"
						" w = Expand(x, t) y = Conv(a, w)}"},
	{"a pooling window", "run_work",
	 "g (float[1] x) => (float[?,?,?,?] y) {" EXPAND(
		 "int64[4] {1, 1, 1000, 1000}") "y = MaxPool<kernel_shape = [500, 500]>(a)}"},
	{"a loop without end", "run_work",
	 "g (float[2] x) => (float[2] y) {c = Constant<value = bool {1}>()"
	 " y = Loop(, c, x) <body = b " BODY "o = Add(p, x)}>}"},
	{"loops in loops, each of few steps", "run_work",
	 "g (float[2] x) => (float[2] y) {c = Constant<value = bool {1}>()"
	 " t = Constant<value = int64 {4000}>()"
	 " y = Loop(t, c, x) <body = b " BODY "o = Loop(t, c, x) <body = b2 "
	 "(int64 i2, bool d2, float[2] p2) => (bool e2, float[2] o2) {e2 = Identity(d2)"
	 " o2 = Add(p2, x)}>}>}"},
	{"a loop whose state grows", "run_bytes",
	 "g (float[1] x) => (float[?] y) {c = Constant<value = bool {1}>()"
	 " y = Loop(, c, x) <body = b (int64 i, bool d, float[?] p) => (bool e, float[?] o) "
	 "{e = Identity(d) o = Concat<axis = 0>(p, p)}>}"},
	{"a loop that stacks", "run_bytes",
	 "g (float[2] x) => (float[2] y, float[?,?] z) {c = Constant<value = bool {1}>()"
	 " s = Constant<value = int64[1] {100000}>()"
	 " y, z = Loop(, c, x) <body = b (int64 i, bool d, float[2] p) =>"
	 " (bool e, float[2] o, float[?] q) "
	 "{e = Identity(d) o = Add(p, x) q = ConstantOfShape(s)}>}"},
	{"a scan", "run_work",
	 "g (float[1] x) => (float[?] y) {s = Constant<value = int64[2] {9000000, 1}>()"
	 " a = Expand(x, s) z = Constant<value = float {0}>()"
	 " f, y = Scan <num_scan_inputs = 1, body = b (float p, float[1] v) => (float o, float q)"
	 " {o = ReduceSum<keepdims = 0>(v) q = Add(p, o)}>(z, a)}"},
	{"an Einsum of many operands", "run_work",
	 "g (float[2] a, float[99999] b) => (y) "
	 "{y = Einsum<equation = \"a,b,c,d,e,f,g->\">(a, a, a, a, b, b, b)}"},
	{"attention to a long past", "run_work",
	 "g (float[1,10000,10,1] q, float[1,1,1,1] k, float[1,1,99999,1] p) => (y) "
	 "{y, a, b = Attention(q, k, k, , p, p)}"},
	{"steps of nothing", "run_work", "g (float[1099511627776,0] x) => (y) {y = Softmax(x)}"},
	{"an input", "run_bytes",
	 "g (float[50000,50000] x) => (float[50000,50000] y) {y = Relu(x)}"},
	{"functions that call functions", "run_bytes",
	 "g (float[2] x) => (float[2] y) {y = f.F21(x)}"},
};

/* What any file may take, by the bad-input promise; instrumented code is slower and larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SLOW = 10 };
#else
enum { SLOW = 1 };
#endif
enum { SECONDS = 2, MEGABYTES = 200 };

/* F0 negates, F1 is F0 of F0, and so on: 2^n nodes. */
static void add_functions(char *text, size_t size)
{
	for (int i = 0; i < 22; i++) {
		size_t n = strlen(text);
		char body[64] = "b = Neg(a)";
		if (i)
			snprintf(body, sizeof body, "t = f.F%d(a) b = f.F%d(t)", i - 1, i - 1);
		snprintf(text + n, size - n,
			 "\n<domain: \"f\", opset_import: [\"\" : 17, \"f\" : 1]> F%d (a) => (b) "
			 "{%s}",
			 i, body);
	}
}

static pai_model *model_of(pai_ctx *ctx, const char *text)
{
	static char all[8192];
	pai_model *m;
	snprintf(all, sizeof all, HEAD "%s", text);
	if (strstr(text, "f.F"))
		add_functions(all, sizeof all);
	if (pai_text_parse(ctx, "bomb", all, strlen(all), &m) != PAI_OK)
		fail_msg("does not parse: %s", pai_diag_get(ctx, 0)->text);
	assert_int_equal(pai_infer(m), PAI_OK);
	return m;
}

static pai_status attempt(pai_ctx *ctx, pai_model *m, pai_backend backend)
{
	pai_plan_options o = {.backend = backend, .threads = 1};
	pai_value *const *values;
	const pai_tensor **in, *out[4];
	pai_plan *p;
	PAI_TRY(pai_random_inputs(ctx, m->arena, m, 0, &in));
	PAI_TRY(pai_plan_new(ctx, m->graph, pai_model_inputs(m, &values), in, &o, &p));
	pai_status status = pai_plan_run(p, in, out);
	pai_plan_free(p);
	return status;
}

static void refuse(void **state)
{
	const struct bomb *b = *state;
	for (int backend = PAI_FAST; backend <= PAI_REFERENCE; backend++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		pai_model *m = model_of(ctx, b->text);
		clock_t start = clock();
		assert_int_equal(attempt(ctx, m, (pai_backend)backend), PAI_LIMIT);
		assert_non_null(strstr(pai_diag_get(ctx, 0)->text, b->limit));
		assert_true((double)(clock() - start) < SECONDS * SLOW * CLOCKS_PER_SEC);
		pai_model_free(m);
		assert_int_equal(ctx->run.bytes, 0);
		assert_int_equal(ctx->run.scopes, 0);
		pai_ctx_free(ctx);
		struct rusage used;
		assert_int_equal(getrusage(RUSAGE_SELF, &used), 0);
		assert_true(used.ru_maxrss / 1024 < MEGABYTES * SLOW);
	}
}

/* A budget is for one run, however many there are; and it can be raised. */
static void test_runs_do_not_add_up(void **unused)
{
	(void)unused;
	pai_ctx *ctx = pai_ctx_new(NULL);
	pai_model *m = model_of(ctx, "g (float[64,64] x) => (float[64,64] y) {y = MatMul(x, x)}");
	pai_value *const *values;
	const pai_tensor **in, *out[1];
	pai_plan *p;
	ctx->limits.run_work = 1000000;
	assert_int_equal(pai_random_inputs(ctx, m->arena, m, 0, &in), PAI_OK);
	pai_plan_options o = {.backend = PAI_REFERENCE};
	assert_int_equal(pai_plan_new(ctx, m->graph, pai_model_inputs(m, &values), in, &o, &p),
			 PAI_OK);
	for (int i = 0; i < 20; i++)
		assert_int_equal(pai_plan_run(p, in, out), PAI_OK);
	pai_budget_begin(ctx);
	pai_status status = PAI_OK;
	for (int i = 0; i < 20 && status == PAI_OK; i++)
		status = pai_plan_run(p, in, out);
	pai_budget_end(ctx);
	assert_int_equal(status, PAI_LIMIT);
	ctx->limits.run_work = 1000;
	assert_int_equal(pai_plan_run(p, in, out), PAI_LIMIT);
	pai_plan_free(p);
	pai_model_free(m);
	pai_ctx_free(ctx);
}

/* Where there is nothing to do, steps are not gone through; last states are the initial ones. */
static void test_nothing_to_do(void **unused)
{
	static const char *const rows[] = {
		"g (float[1099511627776,0,2] x, float[1,4,2] w, float[1,4,4] r) => (y, h)"
		" {y, h = RNN<hidden_size = 4>(x, w, r)}",
		"g (float[1099511627776,1,0] x) => (y) {l = Constant<value = int64[1] {5}>()"
		" y = ReverseSequence(x, l)}",
		"g (float[1048576,1048576,0] x) => (y) "
		"{y = RotaryEmbedding<num_heads = 1>(x, x, x)}",
	};
	(void)unused;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pai_ctx *ctx = pai_ctx_new(NULL);
		ctx->limits.run_work = UINT64_MAX;
		pai_model *m = model_of(ctx, rows[i]);
		clock_t start = clock();
		assert_int_equal(attempt(ctx, m, PAI_REFERENCE), PAI_OK);
		assert_true((double)(clock() - start) < SECONDS * SLOW * CLOCKS_PER_SEC);
		pai_model_free(m);
		pai_ctx_free(ctx);
	}
}

/* What was read raises what is allowed. */
static void test_allowance_grows(void **unused)
{
	(void)unused;
	pai_ctx *ctx = pai_ctx_new(NULL);
	uint64_t small = pai_run_bytes(ctx);
	ctx->bytes_read = 1000000;
	assert_true(pai_run_bytes(ctx) > small);
	ctx->bytes_read = UINT64_MAX;
	assert_int_equal(pai_run_bytes(ctx), (uint64_t)8 << 30);
	ctx->limits.run_bytes = 5;
	assert_int_equal(pai_run_bytes(ctx), 5);
	pai_ctx_free(ctx);
}

int main(void)
{
	enum { N = sizeof bombs / sizeof *bombs };
	struct CMUnitTest tests[N + 3];
	for (int i = 0; i < N; i++)
		tests[i] = (struct CMUnitTest){.name = bombs[i].name,
					       .test_func = refuse,
					       .initial_state = (void *)&bombs[i]};
	tests[N] = (struct CMUnitTest)cmocka_unit_test(test_runs_do_not_add_up);
	tests[N + 1] = (struct CMUnitTest)cmocka_unit_test(test_allowance_grows);
	tests[N + 2] = (struct CMUnitTest)cmocka_unit_test(test_nothing_to_do);
	return _cmocka_run_group_tests("budget", tests, N + 3, NULL, NULL);
}
