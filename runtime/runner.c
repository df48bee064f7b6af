/* runner.c -- a model for inputs of varying shapes: a plan for each set of shapes, made when it is
 * first met; the least recently used goes when there are too many. */
#include "runtime/run.h"

enum { PLANS = 16 };

typedef struct entry {
	pai_plan *plan;
	pai_arena *arena;
	pai_tensor *inputs; /* [n] type and shape */
	uint64_t used;
} entry;

struct pai_runner {
	pai_ctx *ctx;
	pai_arena *arena;
	const pai_model *model;
	pai_plan_options options;
	int n_inputs;
	entry plans[PLANS];
	int n_plans;
	uint64_t clock;
	const pai_runner *leader; /* NULL: none */
};

int pai_model_inputs(const pai_model *m, pai_value *const **out)
{
	const pai_graph *g = m->graph;
	int n = 0;
	for (int i = 0; i < g->inputs.n; i++)
		n += !g->inputs.at[i]->init;
	*out = g->inputs.at;
	if (n == g->inputs.n)
		return n;
	pai_value **list = PAI_NEWS(m->arena, pai_value *, n + 1);
	for (int i = 0, k = 0; i < g->inputs.n; i++)
		if (!g->inputs.at[i]->init)
			list[k++] = g->inputs.at[i];
	*out = list;
	return n;
}

pai_status pai_runner_new(pai_ctx *ctx, const pai_model *m, const pai_plan_options *o,
			  pai_runner **out)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_runner *r = PAI_NEW(a, pai_runner);
	pai_value *const *inputs;
	*r = (pai_runner){.ctx = ctx, .arena = a, .model = m};
	if (o)
		r->options = *o;
	r->n_inputs = pai_model_inputs(m, &inputs);
	*out = r;
	return PAI_OK;
}

static void drop(entry *e)
{
	pai_plan_free(e->plan);
	pai_arena_free(e->arena);
}

void pai_runner_follow(pai_runner *r, const pai_runner *other)
{
	r->leader = other;
}

static const entry *last_used(const pai_runner *r)
{
	const entry *last = NULL;
	for (int i = 0; i < r->n_plans; i++)
		if (!last || r->plans[i].used > last->used)
			last = &r->plans[i];
	return last;
}

/* Work of the plan used last. */
static double last_work(const pai_runner *r)
{
	const entry *last = last_used(r);
	double work = last ? pai_plan_work(last->plan) : 0;
	return work < 1 ? 1 : work;
}

void pai_runner_free(pai_runner *r)
{
	if (!r)
		return;
	for (int i = 0; i < r->n_plans; i++)
		drop(&r->plans[i]);
	pai_arena_free(r->arena);
}

static bool serves(const pai_runner *r, const entry *e, const pai_tensor *const *in)
{
	for (int i = 0; i < r->n_inputs; i++) {
		const pai_tensor *a = &e->inputs[i], *b = in[i];
		if (a->dtype != b->dtype || !pai_same_shape(a, b))
			return false;
	}
	return true;
}

static pai_status make(pai_runner *r, const pai_tensor *const *in, entry *out)
{
	pai_arena *a = pai_arena_new(r->ctx);
	*out = (entry){.arena = a, .inputs = PAI_NEWS(a, pai_tensor, r->n_inputs + 1)};
	for (int i = 0; i < r->n_inputs; i++) {
		out->inputs[i] = *in[i];
		out->inputs[i].data = NULL;
		out->inputs[i].dims =
			pai_arena_dup(a, in[i]->dims, sizeof *in[i]->dims * (size_t)in[i]->rank);
	}
	pai_plan_options o = r->options;
	if (r->leader)
		o.work = last_work(r->leader);
	pai_status st = pai_plan_new(r->ctx, r->model->graph, r->n_inputs, in, &o, &out->plan);
	if (st != PAI_OK)
		pai_arena_free(a);
	return st;
}

pai_plan *pai_runner_find(pai_runner *r, const pai_tensor *const *inputs)
{
	for (int i = 0; i < r->n_plans; i++) {
		entry *e = &r->plans[i];
		if (serves(r, e, inputs)) {
			e->used = ++r->clock;
			return e->plan;
		}
	}
	return NULL;
}

pai_status pai_runner_make(pai_runner *r, const pai_tensor *const *inputs, pai_plan **out)
{
	if (r->n_plans == PLANS) { /* first, so that there are never more than that */
		entry *oldest = &r->plans[0];
		for (int i = 1; i < PLANS; i++)
			if (r->plans[i].used < oldest->used)
				oldest = &r->plans[i];
		drop(oldest);
		*oldest = r->plans[--r->n_plans];
	}
	entry *e = &r->plans[r->n_plans];
	PAI_TRY(make(r, inputs, e));
	r->n_plans++;
	e->used = ++r->clock;
	*out = e->plan;
	return PAI_OK;
}

const pai_plan *pai_runner_last(const pai_runner *r)
{
	const entry *last = last_used(r);
	return last ? last->plan : NULL;
}

pai_status pai_runner_run(pai_runner *r, const pai_tensor *const *inputs,
			  const pai_tensor **outputs)
{
	pai_plan *p = pai_runner_find(r, inputs);
	if (!p)
		PAI_TRY(pai_runner_make(r, inputs, &p));
	return pai_plan_run(p, inputs, outputs);
}
