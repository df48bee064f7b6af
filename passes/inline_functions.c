/* inline_functions.c -- puts the bodies of model-local functions where they are called, in the main
 * graph and in the bodies of If, Loop and Scan; calls within bodies follow in later rounds.
 * Functions that nothing calls any more go, and so do imports that only they needed.
 *
 * Transforms have kernels of their own and stay, unless transforms=true asks for their bodies as
 * well: then the model is standard operators only. A call stays when its function means another
 * version of an operator than the model would.
 */
#include "passes/passes.h"
#include <string.h>

enum { INLINED, OPSET };

static const pai_option options[] = {
	{.name = "transforms",
	 .type = PAI_OPT_BOOL,
	 .def = "false",
	 .help = "inline the bodies of transforms too"},
	{.name = NULL},
};

typedef struct opset_check {
	const pai_graph *main;
	bool differs;
} opset_check;

static pai_status check_opset(void *payload, pai_graph *g)
{
	opset_check *c = payload;
	for (int i = 0; i < g->nodes.n; i++) {
		const pai_node *n = g->nodes.at[i];
		int64_t here = pai_graph_opset(c->main, n->domain);
		if (n->op && here && pai_op_find(n->domain, n->op_type, here) != n->op)
			c->differs = true;
	}
	return PAI_OK;
}

/* Bodies may use domains that the model does not import. */
static void import_domains(pai_patch *p, const pai_model *m, const pai_function *f)
{
	for (int i = 0; i < f->n_opsets; i++)
		if (!pai_graph_opset(m->graph, f->opsets[i].domain))
			pai_patch_import(p, f->opsets[i].domain, f->opsets[i].version);
}

typedef struct job { /* one call of the pass */
	pai_pass_run *r;
	pai_patch *out;
} job;

static const pai_function *called(void *payload, const pai_node *n)
{
	pai_pass_run *r = ((job *)payload)->r;
	if (n->op && !(pai_item_bool(r->item, options, "transforms") && pai_transform_of(n)))
		return NULL;
	pai_model *m = n->graph->model;
	const pai_function *f = pai_model_function(m, n->domain, n->op_type, n->overload);
	opset_check c = {.main = m->graph};
	if (f)
		(void)pai_graph_walk(f->graph, check_opset, &c);
	r->counts[OPSET] += c.differs && r->round == 0;
	return c.differs ? NULL : f;
}

static void inlined(void *payload, const pai_node *call, const pai_function *f,
		    pai_value *const *results)
{
	job *j = payload;
	(void)results;
	import_domains(j->out, call->graph->model, f);
	pai_patch_count(j->out, &j->r->counts[INLINED], 1);
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	job j = {r, out};
	const pai_inliner how = {called, inlined, &j};
	if ((uint64_t)r->round > r->ctx->limits.function_depth)
		return pai_fail(r->ctx, PAI_E_limit, pai_at_nothing(),
				"function_depth: functions call each other too deeply");
	return pai_inline_graph(out, r->scratch, g, &how);
}

typedef struct reach { /* functions that are called from somewhere in the model */
	pai_arena *arena;
	pai_map *seen; /* by address as text */
	PAI_VEC(pai_function *) list;
} reach;

static const char *address(pai_arena *a, const pai_function *f)
{
	return pai_arena_printf(a, "%p", (const void *)f);
}

static pai_status follow_calls(void *payload, pai_graph *g)
{
	reach *r = payload;
	for (int i = 0; i < g->nodes.n; i++) {
		const pai_node *n = g->nodes.at[i];
		pai_function *f = pai_model_function(g->model, n->domain, n->op_type, n->overload);
		if (!f || pai_map_get(r->seen, address(r->arena, f)))
			continue;
		pai_map_put(r->seen, address(r->arena, f), f);
		PAI_PUSH(r->arena, r->list, f);
	}
	return PAI_OK;
}

static pai_status look_for_domain(void *payload, pai_graph *g)
{
	pai_opset *o = payload; /* version 0: found */
	for (int i = 0; i < g->nodes.n; i++)
		if (strcmp(g->nodes.at[i]->domain, o->domain) == 0)
			o->version = 0;
	return PAI_OK;
}

static bool domain_needed(pai_model *m, const char *domain)
{
	pai_opset o = {domain, 1};
	(void)pai_graph_walk(m->graph, look_for_domain, &o);
	for (int i = 0; i < m->functions.n; i++) {
		(void)pai_graph_walk(m->functions.at[i]->graph, look_for_domain, &o);
		if (strcmp(m->functions.at[i]->domain, domain) == 0)
			return true;
	}
	return o.version == 0 || !*domain;
}

typedef struct imports { /* of the model as it came */
	int n;
	bool *needed;
} imports;

static pai_status begin(pai_pass_run *r, pai_model *m)
{
	imports *before = PAI_NEW(r->scratch, imports);
	before->n = m->n_opsets;
	before->needed = PAI_NEWS(r->scratch, bool, m->n_opsets);
	for (int i = 0; i < m->n_opsets; i++)
		before->needed[i] = domain_needed(m, m->opsets[i].domain);
	r->state = before;
	return PAI_OK;
}

/* What was imported for bodies, or for functions that went, goes when nothing needs it; what
 * nothing needed from the start is not ours to take. */
static void drop_imports(pai_model *m, const imports *before)
{
	int kept = 0;
	for (int i = 0; i < m->n_opsets; i++)
		if ((i < before->n && !before->needed[i]) || domain_needed(m, m->opsets[i].domain))
			m->opsets[kept++] = m->opsets[i];
	m->n_opsets = kept;
}

static void drop_functions(pai_model *m)
{
	pai_arena *a = pai_arena_new(m->ctx);
	reach r = {.arena = a, .seen = pai_map_new(a)};
	(void)pai_graph_walk(m->graph, follow_calls, &r);
	for (int i = 0; i < r.list.n; i++) /* which grows */
		(void)pai_graph_walk(r.list.at[i]->graph, follow_calls, &r);
	pai_function **kept = PAI_NEWS(a, pai_function *, m->functions.n + 1);
	int n = 0;
	for (int i = 0; i < m->functions.n; i++)
		if (pai_map_get(r.seen, address(a, m->functions.at[i])))
			kept[n++] = m->functions.at[i];
	pai_model_keep_functions(m, n, kept);
	pai_arena_free(a);
}

static pai_status end(pai_pass_run *r, pai_model *m)
{
	if (r->counts[INLINED]) {
		drop_functions(m);
		drop_imports(m, r->state);
	}
	return PAI_OK;
}

const pai_pass pai_pass_inline_functions = {
	.name = "inline-functions",
	.summary = "put the bodies of model-local functions where they are called",
	.exactness = PAI_EXACT,
	.options = options,
	.stats = (const char *const[]){[INLINED] = "inlined",
				       [OPSET] = "kept: the function means another opset",
				       NULL},
	.begin = begin,
	.run = run,
	.end = end,
};
