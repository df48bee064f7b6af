/* target.c -- is a model one that a runtime takes? A row of targets.def says what that runtime
 * takes; the first thing it does not take is an error that names the node and the reason. */
#include "passes/passes.h"
#include <inttypes.h>
#include <string.h>

static const pai_target targets[] = {
#define TARGET(name, summary, ir, opset, random, functions, domains) \
	{#name, summary, ir, opset, random, functions, domains},
#include "passes/targets.def"
#undef TARGET
	{.name = NULL}};

static const pai_table table = PAI_TABLE(targets);

const pai_target *pai_target_get(int i)
{
	return pai_table_get(table, i);
}

pai_status pai_target_find(pai_ctx *ctx, const char *name, const pai_target **out)
{
	*out = pai_table_find(table, name);
	return *out ? PAI_OK
		    : pai_fail(ctx, PAI_E_unknown_name, pai_at_nothing(),
			       "no target is named \"%.60s\"%s; see pai-opt --list-targets", name,
			       pai_did_you_mean(ctx, pai_table_nearest(table, name)));
}

/* NULL: the target takes the node. */
static const char *objection(const pai_target *t, pai_arena *a, const pai_node *n)
{
	const pai_graph *g = n->graph;
	if (pai_model_function(g->model, n->domain, n->op_type, n->overload))
		return t->functions ? NULL
				    : "is a call of a model-local function; convert --inline, or "
				      "burn-in, puts its body in its place";
	if (*n->domain)
		return pai_list_has(t->domains, ' ', n->domain)
			       ? NULL
			       : pai_arena_printf(a, "is of domain \"%.60s\"", n->domain);
	if (!n->op)
		return "is no operator of this opset";
	if (n->op->traits & PAI_TRAIT_RANDOM && pai_graph_opset(g, "") > t->random_opset)
		return t->random_opset < 0
			       ? "is random"
			       : pai_arena_printf(a, "is random, which runs up to opset %d only",
						  t->random_opset);
	return NULL;
}

typedef struct check {
	const pai_target *target;
	pai_arena *scratch;
} check;

static pai_status check_graph(void *payload, pai_graph *g)
{
	const check *c = payload;
	for (int i = 0; i < g->nodes.n; i++) {
		const char *why = objection(c->target, c->scratch, g->nodes.at[i]);
		if (why)
			return pai_fail(g->model->ctx, PAI_E_target_refuses,
					pai_at_node(g->nodes.at[i]), "target %s: %s",
					c->target->name, why);
	}
	return PAI_OK;
}

/* A function has an opset of its own. */
static pai_status check_imports(const pai_function *f, const pai_target *t)
{
	const pai_model *m = f->graph->model;
	const int64_t opset = pai_graph_opset(f->graph, "");
	if (opset <= t->opset)
		return PAI_OK;
	return pai_fail(m->ctx, PAI_E_target_refuses, pai_at_file(m->path),
			"target %s takes opset %d at most, function \"%.60s\" has %" PRId64,
			t->name, t->opset, f->name, opset);
}

static pai_status check_model(pai_model *m, const check *c)
{
	const pai_target *t = c->target;
	const int64_t opset = pai_graph_opset(m->graph, "");
	if (m->ir_version > t->ir)
		return pai_fail(m->ctx, PAI_E_target_refuses, pai_at_file(m->path),
				"target %s reads IR version %d at most, the model has %" PRId64,
				t->name, t->ir, m->ir_version);
	if (opset > t->opset)
		return pai_fail(m->ctx, PAI_E_target_refuses, pai_at_file(m->path),
				"target %s takes opset %d at most, the model has %" PRId64, t->name,
				t->opset, opset);
	PAI_TRY(pai_graph_walk(m->graph, check_graph, (void *)c));
	for (int i = 0; i < m->functions.n; i++) {
		PAI_TRY(check_imports(m->functions.at[i], t));
		PAI_TRY(pai_graph_walk(m->functions.at[i]->graph, check_graph, (void *)c));
	}
	return PAI_OK;
}

pai_status pai_target_check(pai_model *m, const pai_target *t)
{
	check c = {t, pai_arena_new(m->ctx)};
	pai_status status = check_model(m, &c);
	pai_arena_free(c.scratch);
	return status;
}
