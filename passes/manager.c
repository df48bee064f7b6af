/* manager.c -- runs a pipeline: propose, check, apply, verify, count.
 *
 * A pass is called for the main graph and every subgraph until it proposes nothing more. Bodies of
 * model-local functions are left alone: they have no types, and what they stand for may be run by a
 * kernel of its own. Shapes are inferred again after every round that changed something; that is
 * also the check that replacements have the types they claim.
 */
#include "passes/manager.h"
#include <inttypes.h>
#include <string.h>

typedef struct manager {
	pai_model *m;
	pai_ctx *ctx;
	const pai_pipeline_options *o;
	pai_pipeline_report *report;
	int left;          /* rewrites still allowed; -1: no end */
	uint64_t inferred; /* epoch of the last inference, plus 1 */
} manager;

static pai_status count_graph(void *payload, pai_graph *g)
{
	int64_t *counts = payload;
	counts[0] += g->nodes.n;
	counts[1] += g->inits.n;
	for (int i = 0; i < g->inits.n; i++)
		counts[2] += (int64_t)g->inits.at[i]->init->nbytes;
	return PAI_OK;
}

static void count_model(pai_model *m, int64_t *nodes, int64_t *inits, int64_t *bytes)
{
	int64_t counts[3] = {0};
	(void)pai_graph_walk(m->graph, count_graph, counts);
	*nodes = counts[0];
	*inits = counts[1];
	*bytes = counts[2];
}

static pai_status infer(manager *mg)
{
	if (mg->inferred == mg->m->epoch + 1)
		return PAI_OK;
	PAI_TRY(pai_infer(mg->m));
	mg->inferred = mg->m->epoch + 1;
	return PAI_OK;
}

typedef PAI_VEC(pai_graph *) graph_list;

typedef struct collect {
	pai_arena *arena;
	graph_list list;
} collect;

static pai_status collect_graph(void *payload, pai_graph *g)
{
	collect *c = payload;
	PAI_PUSH(c->arena, c->list, g);
	return PAI_OK;
}

/* One call of the pass on one graph; *applied counts its rewrites. */
static pai_status run_on_graph(manager *mg, pai_pass_run *r, pai_graph *g, uint64_t *applied)
{
	pai_uses *uses = r->pass->needs & PAI_USES ? pai_uses_new(r->scratch, g) : NULL;
	r->uses = uses;
	pai_patch *patch = pai_patch_new(g);
	PAI_TRY(r->pass->run(r, patch, g));
	pai_applied done = {0};
	PAI_TRY(pai_patch_apply(patch, mg->left, &done));
	*applied += (uint64_t)done.applied;
	if (mg->left >= 0)
		mg->left -= done.applied;
	return PAI_OK;
}

static pai_status run_round(manager *mg, pai_pass_run *r, uint64_t *applied)
{
	collect c = {.arena = r->scratch};
	*applied = 0;
	PAI_TRY(pai_graph_walk(mg->m->graph, collect_graph, &c));
	for (int i = c.list.n - 1; i >= 0; i--) { /* innermost first: a body may empty its owner */
		const pai_graph *g = c.list.at[i];
		bool gone = false;
		for (; g && g->owner && !gone; g = g->outer)
			gone = g->owner->dead;
		if (gone || mg->left == 0)
			continue;
		if (r->pass->needs & PAI_SHAPES)
			PAI_TRY(infer(mg));
		PAI_TRY(run_on_graph(mg, r, c.list.at[i], applied));
	}
	return PAI_OK;
}

static pai_status to_fixed_point(manager *mg, pai_pass_run *r, pai_pass_report *p)
{
	uint64_t limit = mg->ctx->limits.pass_steps + 50 * (uint64_t)p->nodes_before, applied = 1;
	for (r->round = 0; applied && mg->left != 0; r->round++) {
		PAI_TRY(run_round(mg, r, &applied));
		p->rewrites += applied;
		p->rounds++;
		if (applied && !mg->o->no_verify_each) {
			PAI_TRY(infer(mg));
			PAI_TRY(pai_verify(mg->m));
		}
		if (p->rewrites > limit)
			return pai_fail(mg->ctx, PAI_E_limit, pai_at_nothing(),
					"pass %s made %" PRIu64 " rewrites (limit pass_steps)",
					p->name, p->rewrites);
		if (r->pass->once)
			break;
	}
	return PAI_OK;
}

static pai_status run_pass(manager *mg, pai_pass_run *r, pai_pass_report *p)
{
	if (mg->left == 0)
		return PAI_OK;
	if (r->pass->begin) {
		if (r->pass->needs & PAI_SHAPES)
			PAI_TRY(infer(mg));
		PAI_TRY(r->pass->begin(r, mg->m));
	}
	PAI_TRY(to_fixed_point(mg, r, p));
	return r->pass->end ? r->pass->end(r, mg->m) : PAI_OK;
}

/* A pass that breaks the model is our bug, whatever the check that found it says. */
static pai_status broken(manager *mg, const pai_pass_report *p, pai_status status)
{
	pai_note(mg->ctx, pai_at_nothing(), "in pass %s, after %" PRIu64 " rewrites", p->name,
		 p->rewrites);
	if (status != PAI_INTERNAL && !(p->rewrites && status == PAI_INVALID))
		return status;
	return pai_fail(mg->ctx, PAI_E_pass_invariant, pai_at_nothing(),
			"pass %s left a model that does not verify", p->name);
}

static bool selected(const manager *mg, const char *name)
{
	return !mg->o->print_pass || strcmp(mg->o->print_pass, name) == 0;
}

static void print_after(manager *mg, const pai_pass_report *p, const char *before, pai_arena *a)
{
	pai_print_when when = mg->o->print_after;
	if (when == PAI_PRINT_NEVER || !selected(mg, p->pass->name) ||
	    (when != PAI_PRINT_ALL && !p->rewrites))
		return;
	FILE *to = mg->o->print_to ? mg->o->print_to : stderr;
	const char *after = pai_model_text(a, mg->m);
	fprintf(to, "# after %s\n", p->name);
	if (when == PAI_PRINT_DIFF)
		pai_print_diff(a, before, after, to);
	else
		fputs(after, to);
}

static pai_status run_item(manager *mg, const pai_pipeline *pl, int i, pai_arena *keep)
{
	pai_pass_report *p = &mg->report->passes[i];
	const pai_pass *pass = pl->passes[i];
	pai_arena *scratch = pai_arena_new(mg->ctx);
	int n_stats = 0;
	while (pass->stats && pass->stats[n_stats])
		n_stats++;
	*p = (pai_pass_report){.name = pai_items_print(keep, &pl->items[i], 1), .pass = pass};
	p->counts = PAI_NEWS(keep, uint64_t, n_stats + 1);
	count_model(mg->m, &p->nodes_before, &p->inits_before, &p->bytes_before);
	bool wants_text =
		mg->o->print_after == PAI_PRINT_DIFF || mg->o->print_before != PAI_PRINT_NEVER;
	const char *before = wants_text ? pai_model_text(scratch, mg->m) : NULL;
	if (mg->o->print_before != PAI_PRINT_NEVER && selected(mg, pass->name))
		fprintf(mg->o->print_to ? mg->o->print_to : stderr, "# before %s\n%s", p->name,
			before);
	pai_pass_run r = {.ctx = mg->ctx,
			  .scratch = scratch,
			  .item = &pl->items[i],
			  .pass = pass,
			  .counts = p->counts};
	double start = pai_now();
	pai_budget_begin(mg->ctx); /* what folding executes */
	pai_status status = run_pass(mg, &r, p);
	pai_budget_end(mg->ctx);
	p->seconds = pai_now() - start;
	count_model(mg->m, &p->nodes_after, &p->inits_after, &p->bytes_after);
	mg->report->rewrites += p->rewrites;
	if (p->rewrites && pass->exactness > mg->report->exactness)
		mg->report->exactness = pass->exactness;
	mg->report->n = i + 1;
	if (status != PAI_OK)
		status = broken(mg, p, status);
	else
		print_after(mg, p, before, scratch);
	pai_arena_free(scratch);
	return status;
}

pai_status pai_pipeline_run(pai_model *m, const pai_pipeline *p, const pai_pipeline_options *o,
			    pai_arena *a, pai_pipeline_report *out)
{
	static const pai_pipeline_options defaults = {.stop_after = -1};
	manager mg = {.m = m, .ctx = m->ctx, .o = o ? o : &defaults, .report = out};
	mg.left = mg.o->stop_after;
	*out = (pai_pipeline_report){.passes = PAI_NEWS(a, pai_pass_report, p->n)};
	for (int i = 0; i < p->n; i++)
		PAI_TRY(run_item(&mg, p, i, a));
	return infer(&mg);
}
