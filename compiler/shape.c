/* shape.c -- inference of types, shapes and small integer contents.
 *
 * One walk over the nodes in their order. What is known of a value while it lasts is a fact, kept
 * in an array per graph; a stack of frames holds the graphs being inferred: the model's, the
 * subgraphs around the current node, and the bodies of functions being called. Bodies of functions
 * are inferred once per call with the types of that call and leave no trace; facts of all other
 * graphs are written to their values at the end of the graph. Before a rule runs, the kind and
 * element type of each output come from the operator's row, bound by the inputs; afterwards its
 * result is merged with what the file states about the value. An operator without a rule leaves its
 * shapes unknown. Work is bounded: nested expansion beyond a budget of steps leaves types unknown.
 */
#include "compiler/compiler.h"
#include <stdlib.h>
#include <string.h>

enum {
	FEW = 8,             /* inputs or outputs of a node that need no memory of their own */
	MAX_ELEM_DEPTH = 8,  /* of types in types */
	SMALL = 128,         /* most elements of contents that are followed */
	STEPS_PER_NODE = 50, /* budget for functions in functions, loops in loops */
	STEPS_AT_LEAST = 100000,
};

typedef struct fact { /* what is known of a value */
	pai_type type;
	const pai_tensor *data; /* contents; NULL: not known */
	const pai_dim *dims;    /* contents as sizes */
	int n_dims;             /* -1: not known */
} fact;

typedef struct frame { /* a graph under inference */
	const pai_graph *graph;
	fact *facts;          /* [value id] */
	const pai_node *call; /* the call whose body this is, or that surrounds it; NULL: none */
	const struct frame *outer;
	bool store; /* results are written to the values */
} frame;

typedef struct inference {
	pai_ctx *ctx;
	pai_arena *arena;
	const frame *frame; /* innermost; NULL: a single node, outside of any graph */
	int depth;          /* of functions and subgraphs */
	uint64_t steps, max_steps;
} inference;

static const pai_shape_fn rules[PAI_OP_COUNT] = {
#define pai_shape_none NULL
#define OP(name, since, traits, in, out, attr, types, shape, ...) pai_shape_##shape,
#include "schemas/all_ops.def"
#undef OP
#undef pai_shape_none
};

pai_shape_fn pai_shape_rule(const pai_op *op)
{
	return op ? rules[pai_op_id(op)] : NULL;
}

static const fact nothing = {.type = {.rank = -1}, .n_dims = -1};

/* What is known of a value of a graph that is not under inference now. */
static fact fact_of_stored(const pai_value *v)
{
	fact f = {.type = v->type, .data = pai_value_constant(v), .n_dims = -1};
	if (v->known_dims) {
		f.dims = v->known_dims;
		f.n_dims = v->n_known;
	}
	return f;
}

static fact fact_of(const inference *in, const pai_value *v)
{
	for (const frame *f = in->frame; f; f = f->outer)
		if (f->graph == v->graph)
			return f->facts[v->id];
	return fact_of_stored(v);
}

/* The type the file gives, or an unknown one. */
static pai_type stated_type(const pai_value *v)
{
	if (!v->inferred)
		return v->type;
	return v->stated ? *v->stated : nothing.type;
}

/* Merges what is stated into what was found, the more specific of both; false: they contradict. */
static bool merge(const inference *in, pai_type *found, const pai_type *stated)
{
	if (stated->kind == PAI_TYPE_UNKNOWN)
		return true;
	if (found->kind == PAI_TYPE_UNKNOWN) {
		*found = *stated;
		return true;
	}
	if (found->kind != stated->kind)
		return false;
	if (found->dtype && stated->dtype && found->dtype != stated->dtype)
		return false;
	if (!found->dtype)
		found->dtype = stated->dtype;
	if (found->elem || stated->elem) {
		if (found->elem && stated->elem && found->elem->dtype != stated->elem->dtype &&
		    found->elem->dtype && stated->elem->dtype)
			return false;
		if (!found->elem || found->elem->kind == PAI_TYPE_UNKNOWN || !found->elem->dtype)
			found->elem = stated->elem;
		return true;
	}
	if (stated->rank < 0)
		return true;
	if (found->rank < 0) {
		found->rank = stated->rank;
		found->dims = stated->dims;
		return true;
	}
	if (found->rank != stated->rank)
		return false;
	pai_dim *dims = found->dims;
	for (int i = 0; i < found->rank; i++) {
		pai_dim a = found->dims[i], b = stated->dims[i];
		if (a >= 0 && b >= 0 && a != b)
			return false;
		if (a == b || a >= 0 || (b < 0 && a != PAI_DIM_UNKNOWN))
			continue;
		if (dims == found->dims)
			dims = pai_arena_dup(in->arena, dims, sizeof *dims * (size_t)found->rank);
		dims[i] = b;
	}
	found->dims = dims;
	return true;
}

static pai_status contradiction(const inference *in, pai_where where, const pai_type *found,
				const pai_type *stated)
{
	return pai_fail(in->ctx, PAI_E_shape_contradiction, where, "is %s, but is stated as %s",
			pai_type_text(in->ctx, in->arena, found),
			pai_type_text(in->ctx, in->arena, stated));
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Exporters state wrong sizes of a model's outputs, often those of the one input they saw. Nothing
 * depends on them: what was computed counts, and the user is told once a model. */
static bool is_misstated(const inference *in, const pai_value *v, const pai_type *found,
			 const pai_type *stated)
{
	const pai_graph *g = v->graph;
	if (!v->is_output || g->outer || g->function || found->kind != PAI_TYPE_TENSOR ||
	    stated->kind != PAI_TYPE_TENSOR || found->dtype != stated->dtype)
		return false;
	const char *path = g->model->path ? g->model->path : in->ctx->model_path;
	const char *file = path ? pai_escape(in->arena, path) : NULL;
	const char *name = pai_escape(in->arena, v->name);
	for (int i = 0; i < pai_diag_count(in->ctx); i++) {
		const pai_diag *d = pai_diag_get(in->ctx, i);
		if (d->code == PAI_E_stated_output && same_text(d->tensor, name) &&
		    same_text(d->file, file))
			return true;
	}
	pai_warn(in->ctx, PAI_E_stated_output, pai_at_value(v), "is %s, but is stated as %s",
		 pai_type_text(in->ctx, in->arena, found),
		 pai_type_text(in->ctx, in->arena, stated));
	return true;
}

/* Type of an argument of the row from the inputs of the same type variable, or from the row alone.
 */
static pai_type bound_type(const pai_shape_ctx *s, const char *name)
{
	const pai_op *op = s->node->op;
	for (int i = 0; i < s->n_in && op->n_in; i++) {
		const pai_op_arg *arg = &op->in[i < op->n_in ? i : op->n_in - 1];
		if (!s->in[i] || arg->heterogeneous || strcmp(arg->type, name) != 0)
			continue;
		if (s->in[i]->kind == PAI_TYPE_TENSOR && s->in[i]->dtype)
			return (pai_type){
				.kind = PAI_TYPE_TENSOR, .dtype = s->in[i]->dtype, .rank = -1};
		if (s->in[i]->kind != PAI_TYPE_TENSOR && s->in[i]->kind != PAI_TYPE_UNKNOWN)
			return *s->in[i];
	}
	const pai_op_type *t = op->types;
	while (t->name && strcmp(t->name, name) != 0)
		t++;
	for (int d = 1; d < PAI_DTYPE_COUNT; d++) {
		bool only = t->name ? t->tensors == PAI_DTYPE_BIT(d) && !t->sequences
				    : strcmp(pai_dtype_get(d)->name, name) == 0;
		if (only)
			return (pai_type){
				.kind = PAI_TYPE_TENSOR, .dtype = (pai_dtype)d, .rank = -1};
	}
	return nothing.type;
}

static void preset_outputs(pai_shape_ctx *s)
{
	const pai_op *op = s->node->op;
	for (int o = 0; o < s->n_out; o++) {
		s->out[o] = nothing.type;
		s->n_out_dims[o] = -1;
		if (!op || !op->n_out)
			continue;
		const pai_op_arg *arg = &op->out[o < op->n_out ? o : op->n_out - 1];
		if (!arg->heterogeneous)
			s->out[o] = bound_type(s, arg->type);
	}
}

/* The node with attributes that stand for the function's own put in from the call. */
static const pai_node *resolve_refs(const inference *in, const pai_node *n)
{
	const pai_node *call = in->frame ? in->frame->call : NULL;
	int refs = 0;
	for (int i = 0; i < n->n_attrs; i++)
		refs += n->attrs[i].ref != NULL;
	if (!refs || !call)
		return n;
	const pai_function *f =
		pai_model_function(call->graph->model, call->domain, call->op_type, call->overload);
	pai_node *copy = pai_arena_dup(in->arena, n, sizeof *n);
	copy->attrs = PAI_NEWS(in->arena, pai_attr, n->n_attrs);
	copy->n_attrs = 0;
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = &n->attrs[i];
		const char *name = a->name;
		if (a->ref) {
			const char *ref = a->ref;
			a = pai_node_attr(call, ref);
			for (int k = 0; !a && f && k < f->n_attrs; k++)
				if (strcmp(f->attrs[k].name, ref) == 0)
					a = &f->attrs[k];
		}
		if (!a)
			continue; /* not given: the default of the row */
		copy->attrs[copy->n_attrs] = *a;
		copy->attrs[copy->n_attrs++].name = name;
	}
	return copy;
}

static pai_type type_copy(pai_arena *a, const pai_type *t, int depth)
{
	pai_type copy = *t;
	copy.dims =
		t->rank > 0 ? pai_arena_dup(a, t->dims, sizeof *t->dims * (size_t)t->rank) : NULL;
	if (t->elem && depth > 0) {
		pai_type elem = type_copy(a, t->elem, depth - 1);
		copy.elem = pai_arena_dup(a, &elem, sizeof elem);
	}
	return copy;
}

static void store_type(pai_value *v, const pai_type *t)
{
	const pai_type *old = &v->type;
	bool same = old->kind == t->kind && old->dtype == t->dtype && old->rank == t->rank &&
		    old->elem == t->elem;
	if (!same ||
	    (t->rank > 0 && memcmp(old->dims, t->dims, sizeof *t->dims * (size_t)t->rank) != 0))
		v->type = type_copy(v->graph->model->arena, t, MAX_ELEM_DEPTH);
}

/* Contents that are numbers throughout, as a tensor of the value's type. */
static const pai_tensor *known_tensor(pai_ctx *ctx, pai_value *v, const fact *f)
{
	pai_dtype_kind kind = pai_dtype_get((int)f->type.dtype)->kind;
	int64_t count = f->n_dims, c;
	for (int i = 0; i < f->n_dims; i++)
		if (!pai_dim_const(ctx, f->dims[i], &c))
			return NULL;
	if (kind != PAI_KIND_SIGNED && kind != PAI_KIND_UNSIGNED && kind != PAI_KIND_BOOL)
		return NULL;
	pai_tensor *t = pai_tensor_new(v->graph->model->arena, f->type.dtype, f->type.rank, &count);
	for (int i = 0; t && i < f->n_dims; i++) {
		(void)pai_dim_const(ctx, f->dims[i], &c);
		if (f->type.dtype == PAI_INT64)
			((int64_t *)t->data)[i] = c;
		else
			pai_tensor_set(t, i, (double)c);
		if (pai_tensor_get_int(t, i) != c)
			return NULL; /* the type wraps where sizes do not */
	}
	return t;
}

static void store_known(pai_ctx *ctx, pai_value *v, const fact *f)
{
	if (f->n_dims < 0 || pai_value_constant(v)) {
		v->known = NULL;
		v->known_dims = NULL;
		v->n_known = 0;
		return;
	}
	size_t nbytes = sizeof *f->dims * (size_t)f->n_dims;
	if (v->known_dims && v->n_known == f->n_dims && memcmp(v->known_dims, f->dims, nbytes) == 0)
		return;
	pai_dim *dims = pai_arena_alloc(v->graph->model->arena, nbytes + sizeof *dims);
	pai_copy(dims, f->dims, nbytes);
	v->known_dims = dims;
	v->n_known = f->n_dims;
	v->known = known_tensor(ctx, v, f);
}

static void store(pai_ctx *ctx, pai_value *v, const fact *f)
{
	if (!v->inferred && v->type.kind != PAI_TYPE_UNKNOWN)
		v->stated = pai_arena_dup(v->graph->model->arena, &v->type, sizeof v->type);
	v->inferred = true;
	store_type(v, &f->type);
	store_known(ctx, v, f);
}

static fact fact_of_tensor(const pai_tensor *t)
{
	return (fact){.type = {.kind = PAI_TYPE_TENSOR,
			       .dtype = t->dtype,
			       .rank = t->rank,
			       .dims = t->dims},
		      .n_dims = -1};
}

/* Facts of a graph before its first node: inputs, as given by the caller and as stated, and
 * initialisers. */
static pai_status start_graph(const inference *in, const pai_graph *g, fact *facts, int n_inputs,
			      const fact *inputs)
{
	for (int i = 0; i < g->values.n; i++)
		facts[i] = nothing;
	for (int i = 0; i < g->inits.n; i++) {
		const pai_value *v = g->inits.at[i];
		if (!v->init)
			continue;
		fact *f = &facts[v->id];
		const pai_type stated = stated_type(v);
		*f = fact_of_tensor(v->init);
		if (!merge(in, &f->type, &stated))
			return contradiction(in, pai_at_value(v), &f->type, &stated);
		f->data = pai_value_constant(v);
	}
	for (int i = 0; i < g->inputs.n; i++) {
		const pai_value *v = g->inputs.at[i];
		fact *f = &facts[v->id];
		pai_type stated = stated_type(v);
		if (i < n_inputs)
			*f = inputs[i];
		else if (v->init && !f->data && stated.kind != PAI_TYPE_UNKNOWN)
			f->type = stated; /* its contents are a default: any size may come */
		if (!merge(in, &f->type, &stated))
			return contradiction(in, pai_at_value(v), &f->type, &stated);
	}
	return PAI_OK;
}

static pai_status infer_node(inference *in, const pai_node *n);

static pai_status infer_graph(inference *in, const pai_graph *g, int n_inputs, const fact *inputs,
			      frame *f)
{
	const frame *outer = in->frame;
	f->graph = g;
	f->outer = outer;
	f->facts = PAI_NEWS(in->arena, fact, g->values.n);
	PAI_TRY(start_graph(in, g, f->facts, n_inputs, inputs));
	in->frame = f;
	in->depth++;
	pai_status status = PAI_OK;
	for (int i = 0; i < g->nodes.n && status == PAI_OK; i++)
		status = infer_node(in, g->nodes.at[i]);
	for (int i = 0; i < g->values.n && f->store && status == PAI_OK; i++)
		if (!g->values.at[i]->dead)
			store(in->ctx, g->values.at[i], &f->facts[i]);
	in->depth--;
	in->frame = outer;
	return status;
}

/* pai_shape_ctx.subgraph */
static pai_status infer_subgraph(pai_shape_ctx *s, pai_graph *g, int n, const pai_type *inputs,
				 int n_out, pai_type *outputs)
{
	inference *in = s->payload;
	frame f = {.call = in->frame ? in->frame->call : NULL,
		   .store = in->frame && in->frame->store};
	for (int i = 0; i < n_out; i++)
		outputs[i] = nothing.type;
	if ((uint64_t)in->depth > s->ctx->limits.subgraph_depth || in->steps > in->max_steps)
		return PAI_OK;
	if (n != g->inputs.n && inputs)
		return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_node(s->node),
				"its subgraph \"%s\" has %d inputs, needs %d", g->name, g->inputs.n,
				n);
	fact *facts = PAI_NEWS(s->arena, fact, n);
	for (int i = 0; i < n; i++) {
		facts[i] = nothing;
		if (inputs)
			facts[i].type = inputs[i];
	}
	PAI_TRY(infer_graph(in, g, n, facts, &f));
	in->frame = &f; /* to look its values up */
	for (int i = 0; i < n_out && i < g->outputs.n; i++)
		outputs[i] = fact_of(in, g->outputs.at[i]).type;
	in->frame = f.outer;
	return PAI_OK;
}

/* The body of the function a node calls, with the node's inputs. */
static pai_status infer_call(inference *in, const pai_node *n, const fact *inputs, fact *outputs)
{
	const pai_function *f =
		pai_model_function(n->graph->model, n->domain, n->op_type, n->overload);
	if (!f || (uint64_t)in->depth > in->ctx->limits.function_depth || in->steps > in->max_steps)
		return PAI_OK;
	const pai_graph *g = f->graph;
	if (n->n_in > g->inputs.n || n->n_out > g->outputs.n)
		return PAI_OK; /* the verifier reports it */
	frame body = {.call = n};
	const frame *outer = in->frame;
	in->frame = NULL; /* a body does not see its caller */
	pai_status status = infer_graph(in, g, n->n_in, inputs, &body);
	in->frame = &body;
	for (int o = 0; o < n->n_out && status == PAI_OK; o++)
		outputs[o] = fact_of(in, g->outputs.at[o]);
	in->frame = outer;
	if (status != PAI_OK)
		pai_note(in->ctx, pai_at_node(n), "in the function called here");
	return status;
}

/* Contents are kept where they are few and fit the shape. */
static void keep_contents(fact *f, const pai_dim *dims, int n)
{
	if (n < 0 || n > SMALL || f->type.kind != PAI_TYPE_TENSOR)
		return;
	if (f->type.rank == 0 ? n != 1 : f->type.rank != 1 || f->type.dims[0] != n)
		return;
	f->dims = dims;
	f->n_dims = n;
}

typedef struct node_room { /* the arrays of a pai_shape_ctx for a node of few inputs and outputs */
	const pai_type *in[FEW];
	const pai_tensor *data[FEW];
	const pai_dim *dims[FEW], *out_dims[FEW];
	int n_dims[FEW], n_out_dims[FEW];
	pai_type out[FEW];
	fact facts[FEW], results[FEW];
} node_room;

/* Runs the rule of n on the inputs, or infers what it calls. */
static pai_status apply(inference *in, const pai_node *n, const fact *inputs, fact *outputs,
			node_room *room)
{
	const bool few = n->n_in <= FEW, few_out = n->n_out <= FEW;
	pai_arena *a = in->arena;
	const pai_type **types = few ? room->in : PAI_NEWS(a, const pai_type *, n->n_in);
	const pai_tensor **data = few ? room->data : PAI_NEWS(a, const pai_tensor *, n->n_in);
	const pai_dim **dims = few ? room->dims : PAI_NEWS(a, const pai_dim *, n->n_in);
	int *n_dims = few ? room->n_dims : PAI_NEWS(a, int, n->n_in);
	pai_shape_ctx s = {.ctx = in->ctx,
			   .node = n,
			   .n_in = n->n_in,
			   .n_out = n->n_out,
			   .in = types,
			   .data = data,
			   .dims = dims,
			   .n_dims = n_dims,
			   .arena = a,
			   .subgraph = infer_subgraph,
			   .payload = in};
	s.out = few_out ? room->out : PAI_NEWS(a, pai_type, n->n_out);
	s.out_dims = few_out ? room->out_dims : PAI_NEWS(a, const pai_dim *, n->n_out);
	s.n_out_dims = few_out ? room->n_out_dims : PAI_NEWS(a, int, n->n_out);
	for (int i = 0; i < n->n_in; i++) {
		types[i] = n->in[i] ? &inputs[i].type : NULL;
		data[i] = inputs[i].data;
		dims[i] = inputs[i].dims;
		n_dims[i] = inputs[i].n_dims;
	}
	for (int i = n->n_in; i < FEW; i++) { /* slots a rule may look at without asking */
		types[i] = NULL;
		data[i] = NULL;
		n_dims[i] = -1;
	}
	in->steps++;
	preset_outputs(&s);
	pai_shape_fn rule = pai_shape_rule(n->op);
	for (int o = 0; o < n->n_out; o++)
		outputs[o] = nothing;
	if (!rule && pai_model_function(n->graph->model, n->domain, n->op_type, n->overload))
		return infer_call(in, n, inputs, outputs);
	if (rule && n->n_out > 0)
		PAI_TRY(rule(&s));
	for (int o = 0; o < n->n_out; o++) {
		outputs[o].type = s.out[o];
		keep_contents(&outputs[o], s.out_dims[o], s.n_out_dims[o]);
	}
	return PAI_OK;
}

static pai_status infer_node(inference *in, const pai_node *n)
{
	node_room room;
	fact *inputs = n->n_in <= FEW ? room.facts : PAI_NEWS(in->arena, fact, n->n_in);
	fact *results = n->n_out <= FEW ? room.results : PAI_NEWS(in->arena, fact, n->n_out);
	const frame *f = in->frame;
	if (f->call)
		n = resolve_refs(in, n);
	for (int i = 0; i < n->n_in; i++)
		inputs[i] = n->in[i] ? fact_of(in, n->in[i]) : nothing;
	PAI_TRY(apply(in, n, inputs, results, &room));
	for (int o = 0; o < n->n_out; o++) {
		const pai_value *v = n->out[o];
		if (!v)
			continue;
		pai_type stated = stated_type(v);
		if (!merge(in, &results[o].type, &stated) &&
		    !is_misstated(in, v, &results[o].type, &stated))
			return contradiction(in, pai_at_output(n, o), &results[o].type, &stated);
		f->facts[v->id] = results[o];
		f->facts[v->id].data = pai_value_constant(v);
	}
	return PAI_OK;
}

static pai_status count_nodes(void *payload, pai_graph *g)
{
	*(uint64_t *)payload += (uint64_t)g->nodes.n;
	return PAI_OK;
}

pai_status pai_infer(pai_model *m)
{
	uint64_t nodes = 0;
	PAI_TRY(pai_graph_walk(m->graph, count_nodes, &nodes));
	for (int i = 0; i < m->functions.n; i++)
		PAI_TRY(pai_graph_walk(m->functions.at[i]->graph, count_nodes, &nodes));
	inference in = {.ctx = m->ctx,
			.arena = pai_arena_new(m->ctx),
			.max_steps = STEPS_AT_LEAST + STEPS_PER_NODE * nodes};
	frame f = {.store = true};
	pai_status status = infer_graph(&in, m->graph, 0, NULL, &f);
	pai_arena_free(in.arena);
	return status;
}

pai_status pai_shape_node(pai_ctx *ctx, pai_arena *a, const pai_node *n,
			  const pai_tensor *const *in, pai_type *out)
{
	node_room room;
	inference run = {.ctx = ctx, .arena = a, .max_steps = STEPS_AT_LEAST};
	fact *inputs = n->n_in <= FEW ? room.facts : PAI_NEWS(a, fact, n->n_in);
	fact *results = n->n_out <= FEW ? room.results : PAI_NEWS(a, fact, n->n_out);
	for (int i = 0; i < n->n_in; i++) {
		inputs[i] = nothing;
		if (!in[i])
			continue;
		inputs[i] = fact_of_tensor(in[i]);
		if (in[i]->dtype == PAI_UNDEFINED)
			inputs[i].type.kind = PAI_TYPE_UNKNOWN;
		bool empty = false;
		for (int k = 0; k < in[i]->rank; k++)
			empty |= in[i]->dims[k] == 0;
		if (in[i]->data || empty)
			inputs[i].data = in[i];
	}
	PAI_TRY(apply(&run, n, inputs, results, &room));
	for (int o = 0; o < n->n_out; o++)
		out[o] = results[o].type;
	return PAI_OK;
}

typedef struct fixing { /* a free dimension and what it becomes */
	pai_dim symbol;
	const pai_value *input; /* or one axis of an input */
	int axis;
	int64_t size;
	int hits;
} fixing;

/* Puts the size into what is stated of a value, and forgets what was inferred. */
static void fix_value(pai_value *v, fixing *x)
{
	pai_type t = stated_type(v);
	bool touched = false;
	for (int i = 0; i < t.rank; i++)
		touched |= v == x->input ? i == x->axis : pai_dim_equal(t.dims[i], x->symbol);
	if (!touched)
		return;
	t.dims = pai_arena_dup(v->graph->model->arena, t.dims, sizeof *t.dims * (size_t)t.rank);
	for (int i = 0; i < t.rank; i++)
		if (v == x->input ? i == x->axis : pai_dim_equal(t.dims[i], x->symbol))
			t.dims[i] = x->size;
	v->type = t;
	v->inferred = false;
	v->stated = NULL;
	v->origin = NULL; /* written anew */
	x->hits++;
}

static pai_status fix_graph(void *payload, pai_graph *g)
{
	for (int i = 0; i < g->values.n; i++)
		if (!g->values.at[i]->dead)
			fix_value(g->values.at[i], payload);
	return PAI_OK;
}

/* "input_name:axis" */
static bool find_axis(const pai_model *m, const char *name, fixing *x)
{
	const char *colon = strrchr(name, ':');
	for (int i = 0; colon && i < m->graph->inputs.n; i++) {
		const pai_value *v = m->graph->inputs.at[i];
		char *end;
		long axis = strtol(colon + 1, &end, 10);
		if (strncmp(v->name, name, (size_t)(colon - name)) != 0 ||
		    v->name[colon - name] != 0 || end == colon + 1 || *end)
			continue;
		if (axis < 0 || axis >= v->type.rank || v->type.dims[axis] >= 0)
			return false;
		x->axis = (int)axis;
		x->symbol = stated_type(v).dims[axis];
		x->input = x->symbol == PAI_DIM_UNKNOWN ? v : NULL;
		return true;
	}
	return false;
}

pai_status pai_model_fix_dim(pai_model *m, const char *name, int64_t size)
{
	fixing x = {.symbol = pai_dim_symbol(m->ctx, name), .size = size};
	if (size < 0)
		return pai_fail(m->ctx, PAI_E_bad_value, pai_at_nothing(),
				"a dimension cannot have the size %lld", (long long)size);
	(void)find_axis(m, name, &x);
	PAI_TRY(pai_graph_walk(m->graph, fix_graph, &x));
	if (!x.hits)
		return pai_fail(m->ctx, PAI_E_unknown_name, pai_at_nothing(),
				"the model has no free dimension \"%s\"",
				pai_escape(m->arena, name));
	m->epoch++;
	return PAI_OK;
}
