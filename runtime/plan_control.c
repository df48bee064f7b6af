/* plan_control.c -- subgraphs of If, Loop and Scan.
 *
 * A node with subgraphs keeps plans for them, one for each set of input shapes it has met. A body
 * whose shapes change with every iteration would need a plan each time, so after a few sets a plan
 * that finds its shapes when it runs serves all others. What a body reads from outside is handed
 * over like inputs.
 */
#include "runtime/plan.h"

enum {
	FIXED_PLANS = 4,  /* per subgraph, before shapes are left open */
	CALL_WORK = 1200, /* of handing values over */
};

/* Iterations draw different random numbers, those of loops in loops as well: multiples of this,
 * 2^32 over the golden ratio, lie far from each other modulo 2^32. */
static const uint32_t LOOP_STREAM = 0x9e3779b1;

typedef struct subplan {
	const pai_graph *graph;
	bool open; /* serves all shapes */
	pai_plan *plan;
} subplan;

typedef struct pai_subplans {
	pai_plan *outer;
	const pai_unit *unit;
	PAI_VEC(subplan) all;
} pai_subplans;

static void free_all(void *at)
{
	pai_subplans *s = at;
	for (int i = 0; i < s->all.n; i++)
		pai_plan_free(s->all.at[i].plan);
}

struct pai_subplans *pai_subplans_new(pai_plan *p, const pai_unit *u)
{
	pai_subplans *s = PAI_NEW(p->arena, pai_subplans);
	s->outer = p;
	s->unit = u;
	pai_arena_defer(p->arena, free_all, s);
	return s;
}

static bool same(const pai_tensor *a, const pai_tensor *b)
{
	bool equal = a->dtype == b->dtype && a->rank == b->rank;
	for (int i = 0; equal && i < a->rank; i++)
		equal = a->dims[i] == b->dims[i];
	return equal;
}

static bool serves(const subplan *s, const pai_unit *u, int n_in, const pai_tensor *const *in)
{
	const pai_plan *p = s->plan;
	bool fits = n_in == p->n_inputs;
	for (int i = 0; fits && i < n_in; i++)
		fits = s->open ? in[i]->dtype == p->inputs[i]->tensor.dtype
			       : same(in[i], &p->inputs[i]->tensor);
	for (int i = 0; fits && !s->open && i < u->n_captures; i++)
		fits = same(&u->captures[i].slot->tensor, &p->captures[i].slot->tensor);
	return fits;
}

static pai_status make(pai_subplans *s, const pai_graph *g, bool open, int n_in,
		       const pai_tensor *const *in, pai_arena *a, pai_plan **out)
{
	const pai_unit *u = s->unit;
	int n = n_in + u->n_captures;
	pai_tensor *as = PAI_NEWS(a, pai_tensor, n + 1);
	const pai_tensor **list = PAI_NEWS(a, const pai_tensor *, n + 1);
	const pai_value **captured = PAI_NEWS(a, const pai_value *, u->n_captures + 1);
	for (int i = 0; i < n; i++) {
		const pai_slot *c = i < n_in ? NULL : u->captures[i - n_in].slot;
		bool constant = c && c->place == PAI_IN_CONST;
		as[i] = c ? c->tensor : *in[i];
		list[i] = &as[i];
		if (!constant)
			as[i].data = NULL;
		if (open && !constant)
			as[i].rank = -1;
		if (c)
			captured[i - n_in] = u->captures[i - n_in].value;
	}
	pai_lowering l = {.graph = g,
			  .n_inputs = n_in,
			  .inputs = list,
			  .n_captures = u->n_captures,
			  .captured = captured,
			  .captured_as = list + n_in};
	pai_plan_options o = {.backend = s->outer->options.backend,
			      .threads = s->outer->threads,
			      .no_onednn = s->outer->options.no_onednn};
	return pai_plan_build(s->outer->ctx, &l, u->frame, &o, out);
}

static pai_status find(pai_subplans *s, const pai_graph *g, int n_in, const pai_tensor *const *in,
		       pai_plan **out)
{
	int n = 0;
	for (int i = 0; i < s->all.n; i++) {
		if (s->all.at[i].graph != g)
			continue;
		n++;
		if (serves(&s->all.at[i], s->unit, n_in, in)) {
			*out = s->all.at[i].plan;
			return PAI_OK;
		}
	}
	subplan made = {.graph = g, .open = n >= FIXED_PLANS};
	pai_arena *a = pai_arena_new(s->outer->ctx);
	pai_status st = make(s, g, made.open, n_in, in, a, &made.plan);
	pai_arena_free(a);
	PAI_TRY(st);
	PAI_PUSH(s->outer->arena, s->all, made);
	*out = made.plan;
	return PAI_OK;
}

/* Contents and shape of `from`; the dims of an open slot change with each run. */
static void lend(pai_slot *to, const pai_tensor *from)
{
	if (to->place == PAI_IN_CONST)
		return;
	if (to->place == PAI_IN_BUFFER) {
		to->tensor.rank = from->rank;
		to->tensor.dims = from->dims;
		to->tensor.nbytes = from->nbytes;
	}
	to->tensor.data = from->data;
}

pai_status pai_plan_subgraph(pai_call *c, const pai_graph *g, int n_in, const pai_tensor *const *in,
			     int n_out, pai_tensor *out)
{
	pai_node_step *step = (pai_node_step *)c;
	pai_subplans *s = step->subplans;
	pai_plan *p;
	PAI_TRY(pai_budget_work(c->ctx, pai_at_node(c->node), CALL_WORK));
	PAI_TRY(find(s, g, n_in, in, &p));
	if (n_out > p->n_outputs)
		return pai_fail(c->ctx, PAI_E_bad_input, pai_at_node(c->node),
				"its subgraph has %d outputs, %d are needed", p->n_outputs, n_out);
	for (int i = 0; i < n_in; i++)
		lend(p->inputs[i], in[i]);
	for (int i = 0; i < p->n_captures; i++)
		lend(p->captures[i].slot, &s->unit->captures[i].slot->tensor);
	p->run.step = c->run->step;
	p->run.stream = c->run->stream * LOOP_STREAM + ++step->calls;
	PAI_TRY(pai_plan_charge(p));
	PAI_TRY(pai_plan_execute(p));
	for (int i = 0; i < n_out; i++)
		out[i] = p->outputs[i]->tensor;
	return PAI_OK;
}
