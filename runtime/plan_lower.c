/* plan_lower.c -- from a graph to slots and units.
 *
 * The nodes are taken in order. A call of a model-local function is replaced by the function's
 * nodes, an If whose condition is known by the nodes of its branch, and a node whose inputs are
 * known is run at once. What is left has a unit each. The graph is only read: all that is found out
 * about its values for these sizes stands in slots.
 */
#include "runtime/plan.h"
#include <assert.h>
#include <string.h>

enum { UNIT_WORK = 3000, UNIT_BYTES = 512 }; /* of making the step of a node, about */

typedef struct scope { /* values of one graph, as called from one place */
	const struct scope *outer;
	const pai_graph *graph;
	pai_slot **slots; /* by value id; NULL: not made yet, or an omitted input of a function */
	const pai_frame *frame;
	int depth;
} scope;

typedef struct lowering {
	pai_plan *p;
	const pai_lowering *from;
	pai_arena *temp;
	int *bound; /* [values of the graph]: 1 + index in options->bound; 0: none */
} lowering;

pai_slot *pai_plan_slot(pai_plan *p, const pai_value *v, pai_place place)
{
	pai_slot *s = PAI_NEW(p->arena, pai_slot);
	*s = (pai_slot){.value = v, .place = place, .last_unit = -1, .first = -1, .last = -1};
	s->root = s;
	s->tensor = (pai_tensor){.name = v ? v->name : NULL, .rank = -1};
	PAI_PUSH(p->arena, p->slots, s);
	return s;
}

static int bound_index(const lowering *l, const pai_value *v)
{
	return l->bound && v->graph == l->from->graph ? l->bound[v->id] - 1 : -1;
}

static bool all_known(int rank, const pai_dim *dims)
{
	bool known = rank >= 0;
	for (int i = 0; known && i < rank; i++)
		known = dims[i] >= 0;
	return known;
}

/* Type and shape, not contents. */
static pai_status describe(pai_plan *p, pai_slot *s, pai_dtype dtype, int rank, const pai_dim *dims)
{
	s->tensor.dtype = dtype;
	s->tensor.rank = rank;
	s->tensor.dims = PAI_NEWS(p->arena, int64_t, rank > 0 ? rank : 1);
	if (rank > 0)
		pai_copy(s->tensor.dims, dims, sizeof *dims * (size_t)rank);
	s->tensor.nbytes = 0;
	if (!all_known(rank, dims) || dtype == PAI_UNDEFINED)
		return PAI_OK;
	bool fits = pai_tensor_nbytes(dtype, rank, s->tensor.dims, &s->tensor.nbytes);
	if (fits && s->tensor.nbytes <= pai_run_bytes(p->ctx))
		return PAI_OK;
	return pai_fail(
		p->ctx, PAI_E_run_memory, s->value ? pai_at_value(s->value) : pai_at_nothing(),
		"this tensor alone needs %zu bytes, a run may hold %llu (run_bytes)",
		fits ? s->tensor.nbytes : SIZE_MAX, (unsigned long long)pai_run_bytes(p->ctx));
}

static bool is_fixed(const pai_slot *s)
{
	return s->place != PAI_IN_BUFFER && s->tensor.dtype != PAI_UNDEFINED &&
	       all_known(s->tensor.rank, s->tensor.dims);
}

/* Kernels read elements at their natural alignment; contents of a mapped file may have none. */
static void align(lowering *l, pai_tensor *t)
{
	if ((uintptr_t)t->data % sizeof(double) == 0 || t->dtype == PAI_STRING)
		return;
	void *copy = pai_arena_bulk(l->p->arena, t->nbytes ? t->nbytes : 1);
	if (copy) {
		pai_copy(copy, t->data, t->nbytes);
		t->data = copy;
	}
}

/* A view of a graph (eval.c plans a single node in one) shares the names of the graph itself. */
static bool same_graph(const pai_graph *a, const pai_graph *b)
{
	return a == b || a->names == b->names;
}

/* The slot of a value in scope; an initialiser's is made when first used. */
static pai_slot *find(lowering *l, const scope *sc, const pai_value *v)
{
	for (; sc; sc = sc->outer) {
		if (!same_graph(sc->graph, v->graph))
			continue;
		pai_slot **at = &sc->slots[v->id];
		if (!*at && v->init) {
			bool bound = bound_index(l, v) >= 0;
			*at = pai_plan_slot(l->p, v, bound ? PAI_IN_BOUND : PAI_IN_CONST);
			(*at)->tensor = *v->init;
			if (bound)
				(*at)->tensor.data = NULL;
			else
				align(l, &(*at)->tensor);
		}
		return *at;
	}
	for (int i = 0; i < l->p->n_captures; i++)
		if (l->p->captures[i].value == v)
			return l->p->captures[i].slot;
	return NULL;
}

static const pai_attr *frame_attr(const pai_frame *f, const char *name)
{
	if (!f)
		return NULL;
	const pai_attr *a = pai_node_attr(f->call, name);
	for (int i = 0; !a && i < f->function->n_attrs; i++)
		if (!strcmp(f->function->attrs[i].name, name))
			a = &f->function->attrs[i];
	return a;
}

/* The node with the attributes of the function's call in place of references to them, and, as
 * calls must differ in their random numbers, with a number of its own. */
static const pai_node *resolve(lowering *l, const pai_node *n, const pai_frame *f)
{
	bool refers = f && n->op && n->op->traits & PAI_TRAIT_RANDOM;
	for (int i = 0; !refers && i < n->n_attrs; i++)
		refers = n->attrs[i].ref != NULL;
	if (!refers)
		return n;
	pai_node *r = PAI_NEW(l->p->arena, pai_node);
	*r = *n;
	r->attrs = PAI_NEWS(l->p->arena, pai_attr, n->n_attrs);
	r->n_attrs = 0;
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = n->attrs[i].ref ? frame_attr(f, n->attrs[i].ref) : &n->attrs[i];
		if (!a)
			continue;
		r->attrs[r->n_attrs] = *a;
		r->attrs[r->n_attrs].name = n->attrs[i].name;
		r->attrs[r->n_attrs++].ref = NULL;
	}
	if (f)
		r->id = (int)(((uint32_t)f->call->id * 0x9E3779B1u ^ (uint32_t)n->id) & 0x7fffffff);
	return r;
}

static void gather(pai_arena *a, const pai_graph *top, const pai_graph *g, pai_map *seen,
		   const pai_value ***list, int *n, int *cap)
{
	for (int i = 0; i <= g->nodes.n; i++) { /* the last round is for the outputs */
		const pai_node *node = i < g->nodes.n ? g->nodes.at[i] : NULL;
		int n_in = node ? node->n_in : g->outputs.n;
		for (int k = 0; k < n_in; k++) {
			const pai_value *v = node ? node->in[k] : g->outputs.at[k];
			const pai_graph *home = v ? v->graph : top;
			while (home && home != top)
				home = home->outer;
			const char *key = v ? pai_arena_printf(a, "%p", (const void *)v) : NULL;
			if (home || pai_map_get(seen, key))
				continue;
			pai_map_put(seen, key, (void *)1);
			if (*n == *cap) {
				int more = *cap ? 2 * *cap : 8;
				const pai_value **grown = PAI_NEWS(a, const pai_value *, more);
				pai_copy(grown, *list, sizeof *grown * (size_t)*n);
				*list = grown;
				*cap = more;
			}
			(*list)[(*n)++] = v;
		}
		for (int k = 0; node && k < node->n_attrs; k++)
			if (node->attrs[k].type == PAI_ATTR_GRAPH && node->attrs[k].g)
				gather(a, top, node->attrs[k].g, seen, list, n, cap);
	}
}

/* Values that g and graphs below it read from outside; the count. */
static int captures_of(pai_arena *a, const pai_graph *g, const pai_value ***out)
{
	int n = 0, cap = 0;
	*out = NULL;
	gather(a, g, g, pai_map_new(a), out, &n, &cap);
	return n;
}

static void add_captures(lowering *l, const scope *sc, pai_unit *u)
{
	for (int i = 0; i < u->node->n_attrs; i++) {
		const pai_attr *a = &u->node->attrs[i];
		if (a->type != PAI_ATTR_GRAPH)
			continue;
		const pai_value **values;
		int n = captures_of(l->p->arena, a->g, &values);
		pai_capture *all = PAI_NEWS(l->p->arena, pai_capture, u->n_captures + n);
		pai_copy(all, u->captures, sizeof *all * (size_t)u->n_captures);
		u->captures = all;
		for (int k = 0; k < n; k++) {
			pai_slot *s = find(l, sc, values[k]);
			bool have = !s;
			for (int j = 0; !have && j < u->n_captures; j++)
				have = u->captures[j].value == values[k];
			if (!have)
				all[u->n_captures++] = (pai_capture){values[k], s};
		}
	}
}

static pai_slot *new_output(lowering *l, const pai_value *v)
{
	int b = v ? bound_index(l, v) : -1;
	return v ? pai_plan_slot(l->p, v, b >= 0 ? PAI_IN_BOUND : PAI_IN_ARENA) : NULL;
}

/* Types of the outputs from those of the inputs, whatever of them is known now. */
static pai_status infer(lowering *l, pai_unit *u)
{
	pai_plan *p = l->p;
	const pai_tensor **in = PAI_NEWS(l->temp, const pai_tensor *, u->n_in + 1);
	for (int i = 0; i < u->n_in; i++)
		in[i] = u->in[i] ? &u->in[i]->tensor : NULL;
	pai_type *types = PAI_NEWS(l->temp, pai_type, u->n_out + 1);
	PAI_TRY(pai_shape_node(p->ctx, l->temp, u->node, in, types));
	for (int o = 0; o < u->n_out; o++) {
		if (!u->out[o])
			continue;
		pai_type *t = &types[o];
		if (t->kind == PAI_TYPE_SEQUENCE || t->kind == PAI_TYPE_MAP ||
		    t->kind == PAI_TYPE_OPTIONAL || t->kind == PAI_TYPE_SPARSE_TENSOR)
			return pai_fail(p->ctx, PAI_E_no_kernel, pai_at_output(u->node, o),
					"only dense tensors can be computed with");
		PAI_TRY(describe(p, u->out[o], t->dtype, t->rank, t->dims));
		if (is_fixed(u->out[o]))
			continue;
		u->dynamic = true;
		if (u->out[o]->place == PAI_IN_BOUND)
			return pai_fail(p->ctx, PAI_E_runtime_shape, pai_at_output(u->node, o),
					"its memory is given, but its shape depends on contents");
	}
	/* One output that is found when the node runs makes all of them so. */
	for (int o = 0; u->dynamic && o < u->n_out; o++)
		if (u->out[o] && u->out[o]->place == PAI_IN_ARENA)
			u->out[o]->place = PAI_IN_BUFFER;
	return PAI_OK;
}

static bool can_fold(const lowering *l, const pai_unit *u)
{
	const pai_op *op = u->node->op;
	if (!u->kernel || !op || op->traits & (PAI_TRAIT_RANDOM | PAI_TRAIT_CONTROL))
		return false;
	bool shape_only = pai_node_is(u->node, "Shape") || pai_node_is(u->node, "Size");
	for (int i = 0; i < u->n_in; i++)
		if (u->in[i] && u->in[i]->place != PAI_IN_CONST &&
		    !(shape_only && is_fixed(u->in[i])))
			return false;
	for (int o = 0; o < u->n_out; o++)
		if (u->out[o] && (u->out[o]->place == PAI_IN_BOUND ||
				  u->out[o]->tensor.nbytes > l->p->ctx->limits.folded_bytes))
			return false;
	return true;
}

/* The value of a Constant node is shared, not copied. */
static bool take_constant(const pai_unit *u)
{
	pai_value *v = pai_node_out(u->node, 0);
	const pai_tensor *t = pai_node_is(u->node, "Constant") && v ? pai_value_constant(v) : NULL;
	if (!t || !u->out[0] || u->out[0]->place == PAI_IN_BOUND)
		return false;
	u->out[0]->tensor = *t;
	u->out[0]->place = PAI_IN_CONST;
	return true;
}

static pai_status fold(lowering *l, pai_unit *u)
{
	PAI_TRY(pai_unit_run_now(l->p, u));
	for (int o = 0; o < u->n_out; o++)
		if (u->out[o])
			u->out[o]->place = PAI_IN_CONST;
	return PAI_OK;
}

static pai_status lower_unit(lowering *l, scope *sc, const pai_node *n, pai_slot **in)
{
	pai_plan *p = l->p;
	/* Calls of functions, and calls in those, make a small model large. */
	PAI_TRY(pai_budget_work(p->ctx, pai_at_node(n), UNIT_WORK));
	PAI_TRY(pai_plan_hold(p, pai_at_node(n), UNIT_BYTES));
	pai_unit *u = PAI_NEW(p->arena, pai_unit);
	*u = (pai_unit){
		.node = n, .n_in = n->n_in, .n_out = n->n_out, .in = in, .frame = sc->frame};
	const pai_kernel *k = n->op ? pai_op_kernel(n->op) : NULL;
	u->kernel = k && k->run ? k : NULL;
	u->out = PAI_NEWS(p->arena, pai_slot *, n->n_out + 1);
	for (int o = 0; o < n->n_out; o++) {
		u->out[o] = new_output(l, n->out[o]);
		if (u->out[o]) {
			u->out[o]->maker = u;
			sc->slots[n->out[o]->id] = u->out[o];
		}
	}
	if (take_constant(u))
		return PAI_OK;
	PAI_TRY(infer(l, u));
	if (can_fold(l, u))
		return fold(l, u);
	add_captures(l, sc, u);
	PAI_PUSH(p->arena, p->units, u);
	return PAI_OK;
}

static pai_status lower_graph(lowering *l, scope *sc);

/* Runs the nodes of another graph in place of node n, whose values are in sc. */
static pai_status lower_inside(lowering *l, scope *sc, const pai_node *n, scope *inner,
			       pai_slot *const *in)
{
	pai_plan *p = l->p;
	const pai_graph *g = inner->graph;
	inner->depth = sc->depth + 1;
	inner->slots = PAI_NEWS(p->arena, pai_slot *, g->values.n + 1);
	if ((uint64_t)inner->depth > p->ctx->limits.function_depth + p->ctx->limits.subgraph_depth)
		return pai_fail(p->ctx, PAI_E_limit, pai_at_node(n), "functions nest too deeply");
	for (int i = 0; in && i < g->inputs.n; i++)
		inner->slots[g->inputs.at[i]->id] = i < n->n_in ? in[i] : NULL;
	PAI_TRY(lower_graph(l, inner));
	for (int o = 0; o < n->n_out && o < g->outputs.n; o++) {
		if (!n->out[o])
			continue;
		pai_slot *s = find(l, inner, g->outputs.at[o]);
		sc->slots[n->out[o]->id] = s;
	}
	return PAI_OK;
}

static pai_status lower_node(lowering *l, scope *sc, const pai_node *node)
{
	pai_plan *p = l->p;
	const pai_node *n = resolve(l, node, sc->frame);
	pai_slot **in = PAI_NEWS(p->arena, pai_slot *, n->n_in + 1);
	for (int i = 0; i < n->n_in; i++)
		in[i] = n->in[i] ? find(l, sc, n->in[i]) : NULL;
	if (pai_node_is(n, "If") && n->n_in == 1 && in[0] && in[0]->place == PAI_IN_CONST &&
	    in[0]->tensor.dtype == PAI_BOOL && pai_tensor_nelem(&in[0]->tensor) == 1) {
		bool yes = *(const uint8_t *)in[0]->tensor.data != 0;
		const pai_attr *a = pai_node_attr(n, yes ? "then_branch" : "else_branch");
		if (a && a->type == PAI_ATTR_GRAPH && a->g) {
			scope inner = {.outer = sc, .graph = a->g, .frame = sc->frame};
			return lower_inside(l, sc, n, &inner, NULL);
		}
	}
	const pai_kernel *k = n->op ? pai_op_kernel(n->op) : NULL;
	const pai_function *f = k && k->run ? NULL
					    : pai_model_function(n->graph->model, n->domain,
								 n->op_type, n->overload);
	if (!f)
		return lower_unit(l, sc, n, in);
	pai_frame *frame = PAI_NEW(p->arena, pai_frame);
	*frame = (pai_frame){.outer = sc->frame, .function = f, .call = n};
	scope inner = {.graph = f->graph, .frame = frame};
	return lower_inside(l, sc, n, &inner, in);
}

static pai_status lower_graph(lowering *l, scope *sc)
{
	for (int i = 0; i < sc->graph->nodes.n; i++)
		PAI_TRY(lower_node(l, sc, sc->graph->nodes.at[i]));
	return PAI_OK;
}

static void read_last(pai_slot *s, int unit)
{
	s->readers++;
	if (s->last_unit < 0)
		s->last_unit = unit;
}

/* Backwards: a unit whose results nobody reads is dead. */
static void count_readers(pai_plan *p)
{
	for (int i = 0; i < p->n_outputs; i++)
		read_last(p->outputs[i], p->units.n);
	for (int i = 0; i < p->copies.n; i++)
		read_last(p->copies.at[i].from, p->units.n);
	for (int i = 0; i < p->n_movers; i++)
		p->movers[i].gradient->readers++;
	if (p->loss)
		p->loss->readers++;
	for (int i = p->units.n - 1; i >= 0; i--) {
		pai_unit *u = p->units.at[i];
		u->dead = true;
		for (int o = 0; u->dead && o < u->n_out; o++)
			u->dead = !u->out[o] ||
				  (!u->out[o]->readers && u->out[o]->place != PAI_IN_BOUND);
		for (int k = 0; !u->dead && k < u->n_in; k++)
			if (u->in[k]) {
				read_last(u->in[k], i);
				u->in[k]->reader = u;
			}
		for (int k = 0; !u->dead && k < u->n_captures; k++)
			read_last(u->captures[k].slot, i);
	}
}

static pai_status add_output(lowering *l, const scope *sc, const pai_value *v)
{
	pai_slot *s = find(l, sc, v);
	if (!s)
		return pai_fail(l->p->ctx, PAI_E_bad_input, pai_at_value(v), "nothing computes it");
	s->keep = true;
	l->p->outputs[l->p->n_outputs++] = s;
	return PAI_OK;
}

static pai_status add_inputs(lowering *l, scope *sc)
{
	pai_plan *p = l->p;
	const pai_lowering *f = l->from;
	p->inputs = PAI_NEWS(p->arena, pai_slot *, f->n_inputs + 1);
	for (int i = 0; i < f->graph->inputs.n; i++) {
		const pai_value *v = f->graph->inputs.at[i];
		if (v->init)
			continue;
		if (p->n_inputs == f->n_inputs)
			return pai_fail(p->ctx, PAI_E_bad_input, pai_at_value(v),
					"%d inputs are given and this one is missing", f->n_inputs);
		const pai_tensor *t = f->inputs[p->n_inputs];
		pai_slot *s = pai_plan_slot(p, v, PAI_IN_INPUT);
		PAI_TRY(describe(p, s, t->dtype, t->rank, t->dims));
		if (!is_fixed(s))
			s->place = PAI_IN_BUFFER;
		sc->slots[v->id] = p->inputs[p->n_inputs++] = s;
	}
	if (p->n_inputs != f->n_inputs)
		return pai_fail(p->ctx, PAI_E_bad_input, pai_at_nothing(),
				"%d inputs are given, the graph has %d", f->n_inputs, p->n_inputs);
	p->captures = PAI_NEWS(p->arena, pai_capture, f->n_captures + 1);
	for (int i = 0; i < f->n_captures; i++) {
		const pai_tensor *t = f->captured_as[i];
		pai_slot *s =
			pai_plan_slot(p, f->captured[i], t->data ? PAI_IN_CONST : PAI_IN_INPUT);
		PAI_TRY(describe(p, s, t->dtype, t->rank, t->dims));
		s->tensor.data = t->data;
		if (!is_fixed(s))
			s->place = PAI_IN_BUFFER;
		p->captures[p->n_captures++] = (pai_capture){f->captured[i], s};
	}
	return PAI_OK;
}

/* A gradient is as large as what it moves, whatever the run brings. */
static pai_status add_movers(lowering *l, const scope *sc, const pai_updates *u)
{
	pai_plan *p = l->p;
	p->movers = PAI_NEWS(p->arena, pai_mover, u->n + 1);
	p->loss = find(l, sc, u->loss);
	p->output = u->output ? find(l, sc, u->output) : NULL;
	for (int i = 0; i < u->n; i++) {
		pai_mover *m = &p->movers[p->n_movers++];
		*m = (pai_mover){.updates = u, .index = i};
		m->parameter = find(l, sc, u->parameters[i]);
		m->gradient = find(l, sc, u->gradients[i]);
		assert(m->parameter && m->parameter->place == PAI_IN_BOUND && m->gradient);
		if (!is_fixed(m->gradient) || m->gradient->tensor.dtype != PAI_FLOAT ||
		    m->gradient->tensor.nbytes != m->parameter->tensor.nbytes)
			return pai_fail(
				p->ctx, PAI_E_runtime_shape, pai_at_value(u->parameters[i]),
				"the shape of its gradient is not its own, or depends on contents");
		m->gradient->mover = m;
	}
	return PAI_OK;
}

static pai_status lower(lowering *l)
{
	pai_plan *p = l->p;
	const pai_graph *g = l->from->graph;
	scope sc = {.graph = g, .frame = p->frame};
	sc.slots = PAI_NEWS(p->arena, pai_slot *, g->values.n + 1);
	if (p->options.n_bound) {
		l->bound = PAI_NEWS(l->temp, int, g->values.n + 1);
		for (int i = 0; i < p->options.n_bound; i++)
			l->bound[p->options.bound[i]->id] = i + 1;
	}
	PAI_TRY(add_inputs(l, &sc));
	PAI_TRY(lower_graph(l, &sc));
	p->outputs = PAI_NEWS(p->arena, pai_slot *, g->outputs.n + p->options.n_keep + 1);
	for (int i = 0; i < g->outputs.n; i++)
		PAI_TRY(add_output(l, &sc, g->outputs.at[i]));
	for (int i = 0; i < p->options.n_keep; i++)
		PAI_TRY(add_output(l, &sc, p->options.keep[i]));
	/* A value that is bound twice, or made inside a call or a branch, is copied. */
	for (int i = 0; i < p->options.n_bound; i++) {
		pai_slot *s = find(l, &sc, p->options.bound[i]);
		if (s && (s->place != PAI_IN_BOUND || l->bound[s->value->id] != i + 1))
			PAI_PUSH(p->arena, p->copies,
				 ((pai_copy_out){s, p->options.bound_data[i]}));
	}
	if (p->options.updates)
		PAI_TRY(add_movers(l, &sc, p->options.updates));
	count_readers(p);
	for (int i = 0; i < p->slots.n; i++) {
		pai_slot *s = p->slots.at[i];
		if (s->place == PAI_IN_BOUND)
			s->tensor.data = p->options.bound_data[l->bound[s->value->id] - 1];
	}
	return PAI_OK;
}

pai_status pai_plan_lower(pai_plan *p, const pai_lowering *from)
{
	lowering l = {.p = p, .from = from, .temp = pai_arena_new(p->ctx)};
	pai_status st = lower(&l);
	pai_arena_free(l.temp);
	return st;
}
