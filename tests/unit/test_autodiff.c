/* test_autodiff.c -- the reverse walk: what is differentiated, what is left out, what is refused.
 */
#include "runtime/runtime.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define HEAD "<ir_version: 8, opset_import: [\"\" : 17, \"own\" : 1]>\n"

typedef struct fixture {
	pai_ctx *ctx;
	pai_arena *arena;
	pai_model *m;
} fixture;

static int setup(void **state)
{
	fixture *f = calloc(1, sizeof *f);
	f->ctx = pai_ctx_new(NULL);
	f->arena = pai_arena_new(f->ctx);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	fixture *f = *state;
	pai_model_free(f->m);
	pai_arena_free(f->arena);
	pai_ctx_free(f->ctx);
	free(f);
	return 0;
}

/* Gradients of sum(y) with respect to up to three values. */
static pai_status differentiate(fixture *f, const char *text, const char *const *wrt,
				pai_value **out)
{
	pai_model_free(f->m);
	f->m = NULL;
	if (pai_text_parse(f->ctx, "m", text, strlen(text), &f->m) != PAI_OK)
		fail_msg("%s", pai_diag_get(f->ctx, 0)->text);
	assert_int_equal(pai_infer(f->m), PAI_OK);
	pai_value *y = pai_graph_value(f->m->graph, "y"), *values[3];
	int n = 0;
	for (; n < 3 && wrt[n]; n++)
		values[n] = pai_graph_value(f->m->graph, wrt[n]);
	return pai_autodiff(f->m, 1, &y, NULL, n, values, out);
}

/* Runs the joined graph on x = {1, 2, 3} and returns the gradient's first three elements. */
static void run(fixture *f, pai_value *gradient, double *out)
{
	pai_plan *p;
	pai_plan_options o = {.backend = PAI_REFERENCE, .n_keep = 1, .keep = &gradient};
	pai_tensor *x = pai_tensor_new(f->arena, PAI_FLOAT, 1, (int64_t[]){3});
	for (int i = 0; i < 3; i++)
		pai_tensor_set(x, i, i + 1);
	const pai_tensor *in = x, *outputs[8];
	if (pai_plan_new(f->ctx, f->m->graph, 1, &in, &o, &p) != PAI_OK ||
	    pai_plan_run(p, &in, outputs) != PAI_OK)
		fail_msg("%s", pai_diag_get(f->ctx, 0)->text);
	const pai_tensor *g = outputs[f->m->graph->outputs.n];
	assert_int_equal(pai_tensor_nelem(g), 3);
	for (int i = 0; i < 3; i++)
		out[i] = pai_tensor_get(g, i);
	pai_plan_free(p);
}

static void gives_gradients(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *text, *wrt;
		double want[3];
	} cases[] = {
		/* a value read twice, once as both operands */
		{HEAD "g (float[3] x) => (float[3] y) { a = Mul(x, x) y = Add(a, x) }",
		 "x",
		 {3, 5, 7}},
		/* of a value inside the graph */
		{HEAD "g (float[3] x) => (float[3] y) { a = Mul(x, x) y = Mul(a, a) }",
		 "a",
		 {2, 8, 18}},
		/* the shape of x stops the gradient, x itself does not */
		{HEAD
		 "g (float[3] x) => (float[3] y) { s = Shape(x) a = Reshape(x, s) y = Neg(a) }",
		 "x",
		 {-1, -1, -1}},
		/* a branch that does not matter is not differentiated: Det has no rule */
		{HEAD
		 "g (float[3] x, float[2, 2] z) => (float[3] y, float d) { d = Det(z) y = Neg(x) }",
		 "x",
		 {-1, -1, -1}},
		/* a function, with an attribute and its default, called twice */
		{HEAD "g (float[3] x) => (float[3] y)\n"
		      "{ a = own.leak <slope = 0.5> (x) b = Neg(a) y = own.leak(b) }\n"
		      "<domain: \"own\", opset_import: [\"\" : 17]>\n"
		      "leak <slope: float = 0.25> (v) => (w) { w = LeakyRelu <alpha: float = "
		      "@slope> (v) }",
		 "x",
		 {-0.25, -0.25, -0.25}},
		/* a function that hands its input through */
		{HEAD
		 "g (float[3] x) => (float[3] y) { a = own.same(x) y = Mul(a, x) }\n"
		 "<domain: \"own\", opset_import: [\"\" : 17]> same (v) => (w) { w = Identity(v) }",
		 "x",
		 {2, 4, 6}},
		/* at a kink the derivative is that from the left */
		{HEAD "g (float[3] x) => (float[3] y) <float[3] c = {1, 2, 4}, float[1] s = {0.5}> "
		      "{ d = Sub(x, c) y = PRelu(d, s) }",
		 "x",
		 {0.5, 0.5, 0.5}},
		/* the output itself */
		{HEAD "g (float[3] x) => (float[3] y) { y = Neg(x) }", "y", {1, 1, 1}},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_value *g[3];
		double got[3];
		if (i == 3) { /* two inputs: only that it is differentiated */
			assert_int_equal(differentiate(f, cases[i].text,
						       (const char *[]){cases[i].wrt, NULL}, g),
					 PAI_OK);
			assert_non_null(g[0]);
			continue;
		}
		if (differentiate(f, cases[i].text, (const char *[]){cases[i].wrt, NULL}, g) !=
		    PAI_OK)
			fail_msg("case %zu: %s", i, pai_diag_get(f->ctx, 0)->text);
		run(f, g[0], got);
		for (int k = 0; k < 3; k++)
			if (got[k] != cases[i].want[k])
				fail_msg("case %zu: element %d is %g, not %g", i, k, got[k],
					 cases[i].want[k]);
	}
}

static void says_where_nothing_flows(void **state)
{
	fixture *f = *state;
	pai_value *g[3];
	const char *text = HEAD "g (float[3] x) => (float[3] y) <float[3] w = {1, 2, 3}>\n"
				"{ r = Round(w) a = Add(x, r) y = Neg(a) }";
	assert_int_equal(differentiate(f, text, (const char *[]){"w", "x", NULL}, g), PAI_OK);
	assert_null(g[0]);
	assert_non_null(g[1]);
}

/* Each gradient can be given its own memory: no two are one value, none is a constant. */
static void results_are_values_of_their_own(void **state)
{
	fixture *f = *state;
	pai_value *g[3];
	const char *text = HEAD
		"g (float[3] x) => (float[3] y) <float[3] a = {1, 2, 3}, float[3] b = {0, 0, 0}>\n"
		"{ t = Add(x, a) y = Add(t, b) }";
	assert_int_equal(differentiate(f, text, (const char *[]){"a", "b", "y"}, g), PAI_OK);
	for (int i = 0; i < 3; i++) {
		assert_non_null(g[i]);
		assert_non_null(g[i]->producer);
		assert_int_equal(g[i]->type.rank, 1);
		for (int k = 0; k < i; k++)
			assert_ptr_not_equal(g[i], g[k]);
	}
}

static void refuses_what_it_cannot(void **state)
{
	fixture *f = *state;
	static const struct {
		const char *text, *said;
	} cases[] = {
		{HEAD "g (float[2, 2] x) => (float y) { y = Det(x) }", "Det"},
		{"<ir_version: 3, opset_import: [\"\" : 1]> g (float[1,1,4] x) => (float[1,1,3] y) "
		 "{ y = LpPool <kernel_shape = [2], p = 2.5> (x) }",
		 "2.5"},
		{HEAD "g (float[3] x, bool c) => (float[3] y)\n"
		      "{ y = If (c) <then_branch = t () => (float[3] u) { u = Neg(x) },\n"
		      "              else_branch = e () => (float[3] v) { v = Identity(x) }> }",
		 "If"},
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		pai_value *g[3];
		pai_status s = differentiate(f, cases[i].text, (const char *[]){"x", NULL}, g);
		assert_int_equal(s, PAI_INVALID);
		assert_non_null(strstr(pai_diag_get(f->ctx, 0)->text, cases[i].said));
		assert_int_equal(pai_diag_get(f->ctx, 0)->code, PAI_E_no_gradient);
		pai_diag_clear(f->ctx);
	}
}

/* Same model, same nodes, in the same order. */
static void is_deterministic(void **state)
{
	fixture *f = *state;
	const char *text = HEAD "g (float[3] x) => (float[3] y)\n"
				"{ a = Mul(x, x) b = Sigmoid(x) c = Tanh(a) d = Add(b, c) e = "
				"Mul(d, x) y = Add(e, a) }";
	char *names[2] = {NULL, NULL};
	for (int k = 0; k < 2; k++) {
		pai_value *g[3];
		assert_int_equal(differentiate(f, text, (const char *[]){"x", NULL}, g), PAI_OK);
		const char *all = "";
		for (int i = 0; i < f->m->graph->nodes.n; i++) {
			const pai_node *n = f->m->graph->nodes.at[i];
			all = pai_arena_printf(f->arena, "%s%s(%s)", all, n->op_type,
					       n->out[0]->name);
		}
		names[k] = pai_arena_strdup(f->arena, all);
	}
	assert_string_equal(names[0], names[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(gives_gradients, setup, teardown),
		cmocka_unit_test_setup_teardown(says_where_nothing_flows, setup, teardown),
		cmocka_unit_test_setup_teardown(results_are_values_of_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses_what_it_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(is_deterministic, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
