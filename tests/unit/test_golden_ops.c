/* test_golden_ops.c -- operators against golden vectors: forward values and gradients, through the
 * plan with fast and with reference kernels. ops.json lists the cases, ops.npz holds their models
 * (<case>/model) and arrays (<case>/in.X, out.Y, up.Y, grad.X, sublo.X, subhi.X). Forward values
 * are compared before the gradient is asked for, so that a case without a gradient rule excuses no
 * more than that. A case that a line of expected_failures.txt names must fail with the error given
 * there; an argument filters cases by name. */
#include "tests/unit/golden.h"
#include <math.h>

#define FOLDER PAI_TEST_DATA "/golden/training/"

static struct {
	pai_ctx *ctx;
	pai_arena *arena;
	pai_map *arrays;
	const char *expected; /* text of expected_failures.txt */
} suite;

static pai_tensor *array(const char *id, const char *prefix, const char *name)
{
	char key[256];
	snprintf(key, sizeof key, "%s/%s%s", id, prefix, name);
	return pai_map_get(suite.arrays, key);
}

static const char *text(const cJSON *item, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItem(item, key));
}

static bool flag(const cJSON *item, const char *key)
{
	return cJSON_IsTrue(cJSON_GetObjectItem(item, key));
}

/* The error of a line "golden/<glob> E<code> reason" that names the case. */
static int expected_of(const char *id)
{
	char name[256];
	snprintf(name, sizeof name, "golden/%s", id);
	return expected_error(suite.expected, name);
}

typedef struct tolerance {
	double atol, rtol;
} tolerance;

static tolerance tolerance_of(const cJSON *c, const char *key)
{
	const cJSON *t = cJSON_GetObjectItem(c, key);
	return (tolerance){cJSON_GetNumberValue(cJSON_GetObjectItem(t, "atol")),
			   cJSON_GetNumberValue(cJSON_GetObjectItem(t, "rtol"))};
}

/* got NULL stands for zeros; low and high, where given, are the bounds of what is valid too. */
static bool agrees(const char *what, const pai_tensor *got, const pai_tensor *want,
		   const pai_tensor *low, const pai_tensor *high, tolerance t)
{
	if (got && !pai_same_shape(got, want)) {
		print_error("%s: has another shape\n", what);
		return false;
	}
	for (int64_t i = 0; i < pai_tensor_nelem(want); i++) {
		double g = got ? pai_tensor_get(got, i) : 0, w = pai_tensor_get(want, i);
		double slack = t.atol + t.rtol * fabs(w);
		bool ok = g == w || (isnan(g) && isnan(w)) || fabs(g - w) <= slack;
		if (!ok && low && high)
			ok = g >= pai_tensor_get(low, i) - slack &&
			     g <= pai_tensor_get(high, i) + slack;
		if (!ok) {
			print_error("%s: element %lld is %.9g, expected %.9g\n", what, (long long)i,
				    g, w);
			return false;
		}
	}
	return true;
}

enum { MOST = 16 }; /* inputs or outputs of a case */

typedef struct trial { /* one model with what is fed to it and read from it */
	const cJSON *c;
	const char *id;
	pai_model *m;
	int n_in;
	const pai_tensor *in[2 * MOST];
	int n_wrt;
	const char *wrt_name[MOST];
	pai_value *wrt[MOST], *grad[MOST];
} trial;

static pai_status add_input(trial *t, const char *prefix, const char *name, const char *as,
			    pai_value **out)
{
	pai_tensor *x = array(t->id, prefix, name);
	if (!x)
		return PAI_INTERNAL;
	pai_value *v = pai_graph_add_value(t->m->graph, as);
	v->type = (pai_type){PAI_TYPE_TENSOR, x->dtype, x->rank, x->dims, NULL};
	v->is_input = true;
	PAI_PUSH(t->m->arena, t->m->graph->inputs, v);
	t->in[t->n_in++] = x;
	*out = v;
	return PAI_OK;
}

/* A Dropout with the mask of the case in place of the one it would draw. */
static pai_status give_mask(trial *t, pai_node *n)
{
	pai_graph *g = t->m->graph;
	pai_value *mask;
	PAI_TRY(add_input(t, "given.", "mask", "given_mask", &mask));
	n->op = pai_op_latest(PAI_DOMAIN_INTERNAL, "DropoutMask");
	n->domain = PAI_DOMAIN_INTERNAL;
	n->op_type = "DropoutMask";
	n->in[2] = n->in[1];
	n->in[1] = mask;
	n->n_out = 1;
	g->outputs.n = 1;
	pai_model_import(t->m, PAI_DOMAIN_INTERNAL, 1);
	return PAI_OK;
}

static pai_status load(trial *t)
{
	pai_tensor *bytes = array(t->id, "", "model");
	PAI_TRY(pai_model_parse(suite.ctx, t->id, bytes->data, bytes->nbytes, &t->m));
	pai_graph *g = t->m->graph;
	for (int i = 0; i < g->inputs.n; i++)
		if (!g->inputs.at[i]->init)
			t->in[t->n_in++] = array(t->id, "in.", g->inputs.at[i]->name);
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		if (pai_node_is(n, "QuantizeLinear"))
			pai_prop_set(t->m->arena, &n->props, "pai.grad",
				     pai_glob("*ste_range", t->id) ? "ste_range" : "ste");
		if (pai_node_is(n, "Dropout") && array(t->id, "given.", "mask"))
			PAI_TRY(give_mask(t, n));
	}
	return pai_infer(t->m);
}

static pai_status differentiate(trial *t)
{
	const cJSON *item;
	pai_value *of[MOST], *up[MOST];
	int n_of = 0;
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(t->c, "outputs"))
	{
		if (!flag(item, "upstream"))
			continue;
		char name[128];
		snprintf(name, sizeof name, "up.%s", text(item, "name"));
		of[n_of] = pai_graph_value(t->m->graph, text(item, "name"));
		PAI_TRY(add_input(t, "up.", text(item, "name"), pai_arena_strdup(t->m->arena, name),
				  &up[n_of++]));
	}
	cJSON_ArrayForEach(item, cJSON_GetObjectItem(t->c, "inputs"))
	{
		if (!flag(item, "gradient"))
			continue;
		t->wrt_name[t->n_wrt] = text(item, "name");
		t->wrt[t->n_wrt++] = pai_graph_value(t->m->graph, text(item, "name"));
	}
	return pai_autodiff(t->m, n_of, of, up, t->n_wrt, t->wrt, t->grad);
}

static bool compare(const trial *t, const pai_tensor *const *results)
{
	bool ok = true;
	const pai_graph *g = t->m->graph;
	for (int o = 0; o < g->outputs.n; o++)
		ok &= agrees(g->outputs.at[o]->name, results[o],
			     array(t->id, "out.", g->outputs.at[o]->name), NULL, NULL,
			     tolerance_of(t->c, "tol_forward"));
	for (int i = 0, k = g->outputs.n; i < t->n_wrt; i++) {
		const char *name = t->wrt_name[i];
		char what[128];
		snprintf(what, sizeof what, "gradient of %s", name);
		ok &= agrees(what, t->grad[i] ? results[k++] : NULL, array(t->id, "grad.", name),
			     array(t->id, "sublo.", name), array(t->id, "subhi.", name),
			     tolerance_of(t->c, "tol_grad"));
	}
	return ok;
}

static bool run(trial *t, pai_backend backend)
{
	pai_value *keep[MOST];
	pai_plan_options o = {.backend = backend, .keep = keep};
	for (int i = 0; i < t->n_wrt; i++)
		if (t->grad[i])
			keep[o.n_keep++] = t->grad[i];
	pai_plan *plan;
	const pai_tensor *results[2 * MOST];
	if (pai_plan_new(suite.ctx, t->m->graph, t->n_in, t->in, &o, &plan) != PAI_OK)
		return false;
	/* Twice: what a run leaves behind must not change the next. */
	bool ok = pai_plan_run(plan, t->in, results) == PAI_OK &&
		  pai_plan_run(plan, t->in, results) == PAI_OK && compare(t, results);
	pai_plan_free(plan);
	return ok;
}

static bool run_both(trial *t)
{
	return run(t, PAI_REFERENCE) && run(t, PAI_FAST);
}

static bool passes(const cJSON *c)
{
	trial t = {.c = c, .id = text(c, "id")};
	pai_diag_clear(suite.ctx);
	bool ok = load(&t) == PAI_OK && run_both(&t) && differentiate(&t) == PAI_OK && run_both(&t);
	for (int i = 0; i < pai_diag_count(suite.ctx); i++)
		print_message("%s %s\n", pai_diag_get(suite.ctx, i)->where,
			      pai_diag_get(suite.ctx, i)->text);
	pai_model_free(t.m);
	return ok;
}

static void check_case(void **state)
{
	const cJSON *c = *state;
	bool ok = passes(c);
	const char *wrong = judge(ok, expected_of(text(c, "id")), first_error(suite.ctx));
	if (wrong)
		fail_msg("%s", wrong);
}

int main(int argc, char **argv)
{
	suite.ctx = pai_ctx_new(NULL);
	suite.arena = pai_arena_new(suite.ctx);
	suite.arrays = pai_map_new(suite.arena);
	suite.expected = read_expected(suite.ctx, suite.arena);
	const arrays z = read_arrays(suite.ctx, suite.arena, FOLDER "ops.npz");
	for (int i = 0; i < z.n; i++)
		pai_map_put(suite.arrays, z.at[i]->name, z.at[i]);
	cJSON *json = read_index(suite.ctx, suite.arena, FOLDER "ops.json"), *c;
	const cJSON *cases = cJSON_GetObjectItem(json, "cases");
	struct CMUnitTest *tests = calloc((size_t)cJSON_GetArraySize(cases) + 1, sizeof *tests);
	size_t n_tests = 0;
	cJSON_ArrayForEach(c, cases) tests[n_tests++] = (struct CMUnitTest){
		.name = text(c, "id"), .test_func = check_case, .initial_state = c};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	int failed =
		n_tests ? _cmocka_run_group_tests("golden_ops", tests, n_tests, NULL, NULL) : 1;
	free(tests);
	cJSON_Delete(json);
	pai_arena_free(suite.arena);
	pai_ctx_free(suite.ctx);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
