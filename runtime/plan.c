/* plan.c -- building and running a plan; plans by input shape. */
#include "runtime/fast/fast.h"
#include "runtime/library.h"
#include <omp.h>
#include <string.h>

void pai_plan_emit(pai_plan *p, pai_step step, pai_step_info info, int n_in, pai_slot *const *in,
		   int n_out, pai_slot *const *out)
{
	int at = p->steps.n;
	for (int i = 0; i < n_in; i++)
		for (pai_slot *s = in[i]; s; s = s->root == s ? NULL : s->root)
			s->last = at;
	for (int o = 0; o < n_out; o++)
		for (pai_slot *s = out[o]; s; s = s->root == s ? NULL : s->root) {
			s->first = s->first < 0 ? at : s->first;
			s->last = at;
		}
	PAI_PUSH(p->arena, p->steps, step);
	PAI_PUSH(p->arena, p->info, info);
}

static pai_status emit_all(pai_plan *p)
{
	for (p->unit = 0; p->unit < p->units.n; p->unit++) {
		pai_unit *u = p->units.at[p->unit];
		bool taken = u->dead;
		if (!taken && p->options.backend == PAI_FAST)
			PAI_TRY(pai_emit_fast(p, u, &taken));
		if (!taken)
			PAI_TRY(pai_emit_kernel(p, u));
		pai_emit_updates(p);
	}
	for (int i = 0; i < p->copies.n; i++) {
		pai_slot *from = pai_slot_in(p, p->copies.at[i].from, false);
		pai_slot *to = pai_plan_slot(p, from->value, PAI_IN_BOUND);
		to->tensor = from->tensor;
		to->tensor.data = p->copies.at[i].to;
		pai_emit_copy(p, from, to, NULL);
	}
	pai_emit_updates(p);
	for (int i = 0; i < p->n_outputs; i++) {
		p->outputs[i] = pai_slot_in(p, p->outputs[i], false);
		p->outputs[i]->keep = true;
	}
	return PAI_OK;
}

enum { WORK_PER_THREAD = 400000 }; /* multiply-adds that outweigh waking a thread for each step */

static void choose_threads(pai_plan *p)
{
	int most = p->ctx->threads, want = p->options.threads;
	double fit = p->work / WORK_PER_THREAD;
	if (want <= 0)
		want = fit < 1 ? 1 : fit > most ? most : (int)fit;
	p->threads = p->run.threads = pai_threads_there(p->ctx, want < most ? want : most);
}

pai_status pai_plan_charge(pai_plan *p)
{
	return p->worst ? pai_budget_work(p->ctx, pai_at_node(p->worst), p->charge) : PAI_OK;
}

static double unit_work(const pai_plan *p, const pai_unit *u, pai_arena *a)
{
	const pai_tensor **in = PAI_NEWS(a, const pai_tensor *, u->n_in + 1);
	const pai_tensor **out = PAI_NEWS(a, const pai_tensor *, u->n_out + 1);
	for (int i = 0; i < u->n_in; i++)
		in[i] = u->in[i] ? &u->in[i]->tensor : NULL;
	for (int o = 0; o < u->n_out; o++)
		out[o] = u->out[o] ? &u->out[o]->tensor : NULL;
	return pai_node_work(u->node, u->n_in, in, u->n_out, out, pai_unit_is_fast(p, u));
}

/* What one run takes of its budget; a plan that takes more than there is is not made. */
static pai_status estimate(pai_plan *p)
{
	double most = 0;
	pai_arena *a = pai_arena_new(p->ctx);
	for (int i = 0; i < p->units.n; i++) {
		const pai_unit *u = p->units.at[i];
		if (u->dead || u->dynamic) /* dynamic: charged when it runs */
			continue;
		double work = unit_work(p, u, a);
		if (work > most) {
			most = work;
			p->worst = u->node;
		}
		p->charge += work;
	}
	pai_arena_free(a);
	uint64_t before = p->ctx->run.work;
	pai_status st = pai_plan_charge(p);
	p->ctx->run.work = before;
	return st;
}

static pai_status build(pai_plan *p, const pai_lowering *l)
{
	PAI_TRY(pai_plan_lower(p, l));
	PAI_TRY(estimate(p));
	if (p->options.backend == PAI_FAST)
		pai_plan_prepare(p);
	if (p->options.work > 0)
		p->work = p->options.work;
	choose_threads(p);
	/* oneDNN divides the work of a primitive when it is made. */
	int threads = omp_get_max_threads();
	omp_set_num_threads(p->threads);
	pai_status st = emit_all(p);
	omp_set_num_threads(threads);
	return st == PAI_OK ? pai_plan_layout(p) : st;
}

pai_status pai_plan_build(pai_ctx *ctx, const pai_lowering *l, const pai_frame *frame,
			  const pai_plan_options *o, pai_plan **out)
{
	pai_arena *a = pai_arena_new(ctx);
	pai_plan *p = PAI_NEW(a, pai_plan);
	*p = (pai_plan){.ctx = ctx, .arena = a, .frame = frame};
	if (o)
		p->options = *o;
	p->own = pai_own_pick();
	p->threads = 1;
	p->run = (pai_run){.ctx = ctx,
			   .threads = 1,
			   .owner = p,
			   .output = pai_step_output,
			   .subgraph = pai_plan_subgraph};
	pai_status st = build(p, l);
	if (st != PAI_OK) {
		pai_plan_free(p);
		return st;
	}
	*out = p;
	return PAI_OK;
}

static bool fits(const pai_type *t, const pai_tensor *x)
{
	if (t->kind == PAI_TYPE_UNKNOWN)
		return true;
	bool ok = t->kind == PAI_TYPE_TENSOR && (!t->dtype || t->dtype == x->dtype) &&
		  (t->rank < 0 || t->rank == x->rank);
	for (int i = 0; ok && i < t->rank; i++)
		ok = t->dims[i] < 0 || t->dims[i] == x->dims[i];
	return ok;
}

/* What is given is what the model declares. */
static pai_status check_inputs(pai_ctx *ctx, const pai_graph *g, int n, const pai_tensor *const *in)
{
	for (int i = 0, k = 0; i < g->inputs.n && k < n; i++) {
		const pai_value *v = g->inputs.at[i];
		if (v->init)
			continue;
		const pai_tensor *t = in[k++];
		if (fits(&v->type, t))
			continue;
		pai_arena *a = pai_arena_new(ctx);
		pai_status st = pai_fail(ctx, PAI_E_bad_input, pai_at_value(v),
					 "is %s where the model wants %s", pai_tensor_text(a, t),
					 pai_type_text(ctx, a, &v->type));
		pai_arena_free(a);
		return st;
	}
	return PAI_OK;
}

pai_status pai_plan_new(pai_ctx *ctx, const pai_graph *g, int n_inputs,
			const pai_tensor *const *inputs, const pai_plan_options *o, pai_plan **out)
{
	PAI_TRY(check_inputs(ctx, g, n_inputs, inputs));
	pai_lowering l = {.graph = g, .n_inputs = n_inputs, .inputs = inputs};
	pai_budget_begin(ctx);
	pai_status st = pai_plan_build(ctx, &l, NULL, o, out);
	pai_budget_end(ctx);
	return st;
}

void pai_plan_free(pai_plan *p)
{
	if (!p)
		return;
	pai_plan_release(p);
	pai_run_free(&p->run);
	pai_arena_free(p->arena);
}

static pai_status execute_timed(pai_plan *p)
{
	double t = pai_now();
	for (int i = 0; i < p->steps.n; i++) {
		PAI_TRY(p->steps.at[i].fn(p->steps.at[i].args, &p->run));
		double end = pai_now();
		p->info.at[i].seconds = end - t;
		t = end;
	}
	return PAI_OK;
}

pai_status pai_plan_execute(pai_plan *p)
{
	for (int i = 0; i < p->views.n; i++)
		p->views.at[i]->tensor.data = p->views.at[i]->root->tensor.data;
	if (p->options.profile)
		return execute_timed(p);
	const pai_step *at = p->steps.at;
	for (int left = p->steps.n; left > 0; left--, at++)
		PAI_TRY(at->fn(at->args, &p->run));
	return PAI_OK;
}

static bool same_input(const pai_tensor *a, const pai_tensor *b)
{
	return a->dtype == b->dtype && a->rank == b->rank &&
	       (a->rank < 1 || !memcmp(a->dims, b->dims, sizeof *a->dims * (size_t)a->rank));
}

/* The caller's memory is read in place unless its address is no multiple of the element's size. */
static pai_status take_input(pai_plan *p, pai_slot *s, const pai_tensor *from)
{
	s->tensor.data = from->data;
	if ((uintptr_t)from->data % sizeof(double) == 0 || s->tensor.dtype == PAI_STRING)
		return PAI_OK;
	PAI_TRY(pai_slot_reserve(p, s, from->nbytes));
	pai_copy(s->buffer, from->data, from->nbytes);
	s->tensor.data = s->buffer;
	return PAI_OK;
}

pai_status pai_plan_run(pai_plan *p, const pai_tensor *const *inputs, const pai_tensor **outputs)
{
	for (int i = 0; i < p->n_inputs; i++) {
		pai_slot *s = p->inputs[i];
		if (!same_input(inputs[i], &s->tensor))
			return pai_fail(p->ctx, PAI_E_bad_input, pai_at_value(s->value),
					"has another type or shape than the plan was made for");
		PAI_TRY(take_input(p, s, inputs[i]));
	}
	int threads = omp_get_max_threads();
	omp_set_num_threads(p->threads);
	pai_budget_begin(p->ctx);
	pai_status st = pai_plan_charge(p);
	if (st == PAI_OK)
		st = pai_plan_execute(p);
	pai_budget_end(p->ctx);
	omp_set_num_threads(threads);
	PAI_TRY(st);
	for (int i = 0; i < p->n_outputs; i++)
		outputs[i] = &p->outputs[i]->tensor;
	return PAI_OK;
}

void pai_plan_set_step(pai_plan *p, uint64_t step)
{
	p->run.step = step;
}

void pai_plan_append(pai_plan *p, const char *name, pai_step_fn fn, void *args)
{
	pai_step_info info = {.name = pai_arena_strdup(p->arena, name), .impl = "own"};
	pai_plan_emit(p, (pai_step){fn, args}, info, 0, NULL, 0, NULL);
}

int pai_plan_steps(const pai_plan *p)
{
	return p->steps.n;
}

pai_step_info pai_plan_step(const pai_plan *p, int i)
{
	return p->info.at[i];
}

size_t pai_plan_bytes(const pai_plan *p)
{
	return p->bytes;
}

double pai_plan_work(const pai_plan *p)
{
	return p->work;
}

int pai_plan_threads(const pai_plan *p)
{
	return p->threads;
}
