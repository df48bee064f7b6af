/* verify.c -- is this a model that means something?
 *
 * A list of small checks. Those of a node look at the node and its row only; the walk over a graph
 * keeps which values exist so far, which gives order and single assignment. Types are taken as they
 * stand in the values, so the model should have been inferred; what is unknown is not an error.
 * Nodes of domains that nobody has rows for are left alone.
 */
#include "compiler/compiler.h"
#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST_ERRORS = 20,
	MOST_VARIABLES = 16, /* type variables of an operator */
};

typedef struct scope { /* a graph under check, and those around it */
	const pai_graph *graph;
	bool *defined; /* [value id] */
	const struct scope *outer;
	int depth;
} scope;

typedef struct verifier {
	const pai_model *model;
	pai_ctx *ctx;
	pai_arena *arena;
	int errors;
	pai_status status; /* of the first */
} verifier;

/* Counts an error just reported. */
static void add(verifier *v, pai_status status)
{
	if (v->errors++ == 0)
		v->status = status;
}

static bool full(const verifier *v)
{
	return v->errors >= MOST_ERRORS;
}

/* ai.onnx and our own domains are known in full. */
static bool is_known_domain(const char *domain)
{
	return !*domain || strcmp(domain, PAI_DOMAIN_TRANSFORM) == 0 ||
	       strcmp(domain, PAI_DOMAIN_INTERNAL) == 0;
}

static void check_domain(verifier *v, const pai_node *n)
{
	if (v->model->ir_version < 3 || strcmp(n->domain, PAI_DOMAIN_INTERNAL) == 0)
		return; /* before IR 3 there were no imports */
	if (!pai_graph_opset(n->graph, n->domain))
		add(v, pai_fail(v->ctx, PAI_E_no_opset, pai_at_node(n),
				"its domain \"%s\" is not imported",
				*n->domain ? pai_escape(v->arena, n->domain) : "ai.onnx"));
}

static void check_operator(verifier *v, const pai_node *n)
{
	const int64_t opset = pai_graph_opset(n->graph, n->domain);
	if (n->op && n->op->traits & PAI_TRAIT_DEPRECATED)
		add(v, pai_fail(v->ctx, PAI_E_unknown_op, pai_at_node(n),
				"the operator was removed in opset %d, the model imports %lld",
				n->op->since, (long long)opset));
	else if (n->op && !*n->domain && opset && n->op->since > opset)
		add(v, pai_fail(v->ctx, PAI_E_unknown_op, pai_at_node(n),
				"\"%s\" exists from opset %d on, the model imports %lld",
				n->op->name, n->op->since, (long long)opset));
	if (n->op || !is_known_domain(n->domain) || !opset ||
	    pai_model_function(v->model, n->domain, n->op_type, n->overload))
		return;
	const pai_op *latest = pai_op_latest(n->domain, n->op_type);
	const char *near = latest ? NULL : pai_op_nearest(n->domain, n->op_type);
	const char *name = pai_escape(v->arena, n->op_type);
	while (latest && latest > pai_op_row(0) && strcmp(latest[-1].name, latest->name) == 0)
		latest--;
	if (latest)
		add(v, pai_fail(v->ctx, PAI_E_unknown_op, pai_at_node(n),
				"\"%s\" exists from opset %d on, the model imports %lld", name,
				latest->since, (long long)opset));
	else if (near)
		add(v, pai_fail(v->ctx, PAI_E_unknown_op, pai_at_node(n),
				"there is no operator \"%s\"; the nearest is \"%s\" of opset %d",
				name, near, pai_op_latest(n->domain, near)->since));
	else
		add(v, pai_fail(v->ctx, PAI_E_unknown_op, pai_at_node(n),
				"there is no operator \"%s\"", name));
}

static bool is_variadic(const pai_op_arg *args, int n)
{
	return n > 0 && args[n - 1].arity == PAI_VARIADIC;
}

static void check_inputs(verifier *v, const pai_node *n)
{
	const pai_op *op = n->op;
	if (!op)
		return;
	if (n->n_in > op->n_in && !is_variadic(op->in, op->n_in))
		add(v, pai_fail(v->ctx, PAI_E_arity, pai_at_node(n), "has %d inputs, takes %d",
				n->n_in, op->n_in));
	for (int i = 0; op->n_in > 0 && (i < op->n_in || i < n->n_in); i++) {
		const pai_op_arg *arg = &op->in[i < op->n_in ? i : op->n_in - 1];
		const bool list = arg->arity == PAI_VARIADIC && !arg->heterogeneous;
		if ((arg->arity == PAI_REQUIRED || list) && !pai_node_in(n, i))
			add(v, pai_fail(v->ctx, PAI_E_arity, pai_at_input(n, i),
					"\"%s\" is required", arg->name));
	}
}

static void check_outputs(verifier *v, const pai_node *n)
{
	const pai_op *op = n->op;
	if (!op)
		return;
	if (n->n_out > op->n_out && !is_variadic(op->out, op->n_out))
		add(v, pai_fail(v->ctx, PAI_E_arity, pai_at_node(n), "has %d outputs, gives %d",
				n->n_out, op->n_out));
	for (int o = 0; o < op->n_out; o++)
		if (op->out[o].arity == PAI_REQUIRED && !pai_node_out(n, o))
			add(v, pai_fail(v->ctx, PAI_E_arity, pai_at_output(n, o),
					"\"%s\" is required", op->out[o].name));
}

static const char *attr_type_name(pai_attr_type t)
{
	static const char *const names[] = {
		[PAI_ATTR_UNDEFINED] = "of no type",
		[PAI_ATTR_FLOAT] = "a float",
		[PAI_ATTR_INT] = "an integer",
		[PAI_ATTR_STRING] = "a string",
		[PAI_ATTR_TENSOR] = "a tensor",
		[PAI_ATTR_GRAPH] = "a graph",
		[PAI_ATTR_FLOATS] = "a list of floats",
		[PAI_ATTR_INTS] = "a list of integers",
		[PAI_ATTR_STRINGS] = "a list of strings",
		[PAI_ATTR_TENSORS] = "a list of tensors",
		[PAI_ATTR_GRAPHS] = "a list of graphs",
		[PAI_ATTR_SPARSE_TENSOR] = "a sparse tensor",
		[PAI_ATTR_SPARSE_TENSORS] = "a list of sparse tensors",
		[PAI_ATTR_TYPE_PROTO] = "a type",
		[PAI_ATTR_TYPE_PROTOS] = "a list of types",
	};
	return (unsigned)t < sizeof names / sizeof *names ? names[t] : "of no known type";
}

static void check_choice(verifier *v, const pai_node *n, const pai_attr *a, const pai_op_attr *row)
{
	if (row->choices && a->type == PAI_ATTR_STRING && !a->ref &&
	    !pai_list_has(row->choices, '|', a->s.at))
		add(v, pai_fail(v->ctx, PAI_E_bad_attr, pai_at_attr(n, a->name),
				"is \"%s\", must be one of %s", pai_escape(v->arena, a->s.at),
				row->choices));
}

static void check_attr(verifier *v, const pai_node *n, const pai_attr *a)
{
	const pai_op_attr *row = pai_op_attr_find(n->op, a->name);
	if (!row) {
		const char *near = pai_table_nearest(PAI_TABLE(n->op->attrs), a->name);
		add(v, pai_fail(v->ctx, PAI_E_bad_attr, pai_at_attr(n, a->name),
				"is unknown to version %d of the operator%s", n->op->since,
				pai_did_you_mean(v->ctx, near)));
	} else if (a->type != row->type && a->type != PAI_ATTR_UNDEFINED) {
		add(v,
		    pai_fail(v->ctx, PAI_E_bad_attr, pai_at_attr(n, a->name), "is %s, must be %s",
			     attr_type_name(a->type), attr_type_name(row->type)));
	} else {
		check_choice(v, n, a, row);
	}
}

static void check_attributes(verifier *v, const pai_node *n)
{
	for (int i = 0; i < n->n_attrs; i++)
		for (int k = 0; k < i && n->n_attrs <= 64; k++)
			if (strcmp(n->attrs[i].name, n->attrs[k].name) == 0)
				add(v,
				    pai_fail(v->ctx, PAI_E_duplicate,
					     pai_at_attr(n, n->attrs[i].name), "is given twice"));
	if (!n->op)
		return;
	for (int i = 0; i < n->n_attrs && !full(v); i++)
		check_attr(v, n, &n->attrs[i]);
	for (const pai_op_attr *a = n->op->attrs; a->name; a++)
		if (a->def && strcmp(a->def, "!") == 0 && !pai_node_attr(n, a->name))
			add(v, pai_fail(v->ctx, PAI_E_bad_attr, pai_at_attr(n, a->name),
					"is required"));
}

/* An attribute that stands for one of the function's must name one that the function has. */
static void check_refs(verifier *v, const pai_node *n)
{
	const pai_function *f = n->graph->function;
	for (int i = 0; i < n->n_attrs; i++) {
		const char *ref = n->attrs[i].ref;
		bool found = !ref;
		for (int k = 0; f && !found && k < f->n_attr_names; k++)
			found = strcmp(f->attr_names[k], ref) == 0;
		for (int k = 0; f && !found && k < f->n_attrs; k++)
			found = strcmp(f->attrs[k].name, ref) == 0;
		if (!found)
			add(v, pai_fail(v->ctx, PAI_E_bad_attr, pai_at_attr(n, n->attrs[i].name),
					"stands for the attribute \"%s\", which %s",
					pai_escape(v->arena, ref),
					f ? "the function does not have"
					  : "only a function can have"));
	}
}

static const pai_op_type *type_variable(const pai_op *op, const char *name)
{
	for (const pai_op_type *t = op->types; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t;
	return NULL;
}

/* The element type at the core of a type, and the set of the variable that it must be in. */
static pai_dtype core_of(const pai_type *t, const pai_op_type *var, pai_dtype_set *set)
{
	*set = t->kind == PAI_TYPE_SEQUENCE   ? var->sequences
	       : t->kind == PAI_TYPE_OPTIONAL ? var->optionals
					      : var->tensors;
	if (t->kind == PAI_TYPE_MAP || t->kind == PAI_TYPE_UNKNOWN)
		return PAI_UNDEFINED;
	while (t->elem)
		t = t->elem;
	return t->kind == PAI_TYPE_TENSOR || t->kind == PAI_TYPE_SPARSE_TENSOR ? t->dtype
									       : PAI_UNDEFINED;
}

typedef struct slot { /* an input or output of a node, with its argument in the row */
	const pai_op_arg *arg;
	const pai_value *value;
	bool is_input;
	int index;
} slot;

static pai_where at_slot(const pai_node *n, const slot *s)
{
	return s->is_input ? pai_at_input(n, s->index) : pai_at_output(n, s->index);
}

static slot slot_of(const pai_node *n, int k)
{
	const bool is_input = k < n->n_in;
	const int i = is_input ? k : k - n->n_in;
	const pai_op_arg *args = is_input ? n->op->in : n->op->out;
	const int count = is_input ? n->op->n_in : n->op->n_out;
	return (slot){.arg = count ? &args[i < count ? i : count - 1] : NULL,
		      .value = is_input ? n->in[i] : n->out[i],
		      .is_input = is_input,
		      .index = i};
}

typedef struct binding { /* the first slot of a type variable whose type is known */
	slot slot;
	pai_dtype dtype; /* PAI_UNDEFINED: none so far */
} binding;

/* Slots of one type variable have one type: the first that is known decides. */
static void check_binding(verifier *v, const pai_node *n, const slot *s, pai_dtype dtype,
			  binding *first)
{
	if (!first->dtype)
		*first = (binding){*s, dtype};
	else if (first->dtype != dtype && !s->arg->heterogeneous)
		add(v, pai_fail(v->ctx, PAI_E_bad_dtype, at_slot(n, s),
				"is of %s, but %s %d of the same type \"%s\" is of %s",
				pai_dtype_get((int)dtype)->text,
				first->slot.is_input ? "input" : "output", first->slot.index,
				s->arg->type, pai_dtype_get((int)first->dtype)->text));
}

static void check_types(verifier *v, const pai_node *n)
{
	binding bound[MOST_VARIABLES] = {0};
	if (!n->op)
		return;
	for (int k = 0; k < n->n_in + n->n_out && !full(v); k++) {
		const slot s = slot_of(n, k);
		if (!s.value || !s.arg || s.value->type.kind == PAI_TYPE_UNKNOWN)
			continue;
		const pai_op_type *var = type_variable(n->op, s.arg->type);
		if (!var) { /* the row names the element type itself */
			const char *name = pai_dtype_get((int)s.value->type.dtype)->name;
			if (s.value->type.kind == PAI_TYPE_TENSOR && s.value->type.dtype &&
			    strcmp(name, s.arg->type) != 0)
				add(v, pai_fail(v->ctx, PAI_E_bad_dtype, at_slot(n, &s),
						"is of type %s, must be %s", name, s.arg->type));
			continue;
		}
		pai_dtype_set set;
		const pai_dtype dtype = core_of(&s.value->type, var, &set);
		if (!dtype)
			continue;
		if (!(set & PAI_DTYPE_BIT(dtype)))
			add(v, pai_fail(v->ctx, PAI_E_bad_dtype, at_slot(n, &s),
					"is of %s, which version %d of the operator does not take",
					pai_type_text(v->ctx, v->arena, &s.value->type),
					n->op->since));
		assert(var - n->op->types < MOST_VARIABLES);
		check_binding(v, n, &s, dtype, &bound[var - n->op->types]);
	}
}

static void check_counts(verifier *v, const pai_node *n, const char *attr, int n_in, int n_out)
{
	const pai_attr *a = pai_node_attr(n, attr);
	if (!a || a->type != PAI_ATTR_GRAPH || !a->g)
		return;
	if (a->g->inputs.n != n_in)
		add(v, pai_fail(v->ctx, PAI_E_bad_graph, pai_at_attr(n, attr),
				"the graph has %d inputs, needs %d", a->g->inputs.n, n_in));
	if (a->g->outputs.n != n_out)
		add(v, pai_fail(v->ctx, PAI_E_bad_graph, pai_at_attr(n, attr),
				"the graph has %d outputs, needs %d", a->g->outputs.n, n_out));
}

static void check_subgraphs(verifier *v, const pai_node *n)
{
	if (pai_node_is(n, "If")) {
		check_counts(v, n, "then_branch", 0, n->n_out);
		check_counts(v, n, "else_branch", 0, n->n_out);
	} else if (pai_node_is(n, "Loop")) {
		check_counts(v, n, "body", n->n_in < 2 ? 2 : n->n_in, n->n_out + 1);
	} else if (pai_node_is(n, "Scan")) {
		check_counts(v, n, "body", n->op && n->op->since == 8 ? n->n_in - 1 : n->n_in,
			     n->n_out);
	}
}

static void (*const node_checks[])(verifier *v, const pai_node *n) = {
	check_domain,     check_operator, check_inputs, check_outputs,
	check_attributes, check_refs,     check_types,  check_subgraphs,
};

/* Is the value there when a node of the innermost graph runs? */
static bool is_defined(const scope *s, const pai_value *value)
{
	for (; s; s = s->outer)
		if (s->graph == value->graph)
			return s->defined[value->id];
	return false;
}

static void check_read(verifier *v, const scope *s, const pai_node *n, int i)
{
	const pai_value *value = n->in[i];
	if (!value || is_defined(s, value))
		return;
	if (value->producer && !value->producer->dead && value->graph == s->graph)
		add(v, pai_fail(v->ctx, PAI_E_not_sorted, pai_at_input(n, i),
				"is made by a later node, \"%s\"",
				pai_escape(v->arena, pai_node_label(value->producer))));
	else
		add(v, pai_fail(v->ctx, PAI_E_dangling, pai_at_input(n, i),
				"nothing in reach gives this value"));
}

static void check_write(verifier *v, const scope *s, const pai_node *n, int o)
{
	const pai_value *value = n->out[o];
	if (!value)
		return;
	if (s->defined[value->id] || value->producer != n || value->graph != s->graph)
		add(v, pai_fail(v->ctx, PAI_E_not_ssa, pai_at_output(n, o),
				"the value is defined elsewhere too"));
	s->defined[value->id] = true;
}

static void verify_graph(verifier *v, const pai_graph *g, const scope *outer);

static void verify_node(verifier *v, const scope *s, const pai_node *n)
{
	for (int i = 0; i < n->n_in && !full(v); i++)
		check_read(v, s, n, i);
	for (size_t k = 0; k < sizeof node_checks / sizeof *node_checks && !full(v); k++)
		node_checks[k](v, n);
	for (int i = 0; i < n->n_attrs && !full(v); i++) {
		const pai_attr *a = &n->attrs[i];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			verify_graph(v, a->g, s);
		for (int64_t k = 0; a->type == PAI_ATTR_GRAPHS && k < a->list.n && !full(v); k++)
			verify_graph(v, a->list.g[k], s);
	}
	for (int o = 0; o < n->n_out && !full(v); o++)
		check_write(v, s, n, o);
}

static void check_names(verifier *v, const pai_graph *g)
{
	for (int i = 0; i < g->values.n && !full(v); i++) {
		const pai_value *value = g->values.at[i];
		if (!value->dead && *value->name && pai_map_get(g->names, value->name) != value)
			add(v, pai_fail(v->ctx, PAI_E_duplicate, pai_at_value(value),
					"two values of the graph have this name"));
	}
}

/* What is there before the first node. */
static void define_inputs(verifier *v, const pai_graph *g, bool *defined)
{
	for (int i = 0; i < g->inputs.n; i++) {
		const pai_value *value = g->inputs.at[i];
		if (defined[value->id] || value->producer)
			add(v, pai_fail(v->ctx, PAI_E_not_ssa, pai_at_value(value),
					"the graph input is defined elsewhere too"));
		defined[value->id] = true;
		if (!g->outer && !g->function && value->type.kind == PAI_TYPE_UNKNOWN)
			add(v, pai_fail(v->ctx, PAI_E_untyped, pai_at_value(value),
					"the graph input has no type"));
	}
	for (int i = 0; i < g->inits.n; i++) {
		const pai_value *value = g->inits.at[i];
		if (value->producer)
			add(v, pai_fail(v->ctx, PAI_E_not_ssa, pai_at_value(value),
					"the initialiser is the output of a node too"));
		defined[value->id] = true;
	}
}

static void check_graph_outputs(verifier *v, const scope *s)
{
	const pai_graph *g = s->graph;
	for (int i = 0; i < g->outputs.n && !full(v); i++) {
		const pai_value *value = g->outputs.at[i];
		if (!is_defined(s, value))
			add(v, pai_fail(v->ctx, PAI_E_dangling, pai_at_value(value),
					"nothing gives this output of graph \"%s\"",
					pai_escape(v->arena, g->name)));
		else if (!g->outer && !g->function && value->type.kind == PAI_TYPE_UNKNOWN)
			add(v, pai_fail(v->ctx, PAI_E_untyped, pai_at_value(value),
					"the graph output has no type"));
	}
}

static void verify_graph(verifier *v, const pai_graph *g, const scope *outer)
{
	scope s = {.graph = g, .outer = outer, .depth = outer ? outer->depth + 1 : 0};
	if ((uint64_t)s.depth > v->ctx->limits.subgraph_depth) {
		add(v, pai_fail(v->ctx, PAI_E_limit, pai_at_node(g->owner),
				"subgraphs are nested deeper than subgraph_depth, %llu",
				(unsigned long long)v->ctx->limits.subgraph_depth));
		return;
	}
	s.defined = PAI_NEWS(v->arena, bool, g->values.n);
	check_names(v, g);
	define_inputs(v, g, s.defined);
	for (int i = 0; i < g->nodes.n && !full(v); i++)
		verify_node(v, &s, g->nodes.at[i]);
	check_graph_outputs(v, &s);
}

typedef struct callee { /* a function that may be called */
	const pai_function *function;
	int height; /* calls below it and itself; 0: not known, -1: being found out */
} callee;

typedef struct call_walk { /* who calls whom among the functions */
	verifier *v;
	callee *callees; /* by address, for look-up only */
	int depth;
} call_walk;

static int compare_callees(const void *a, const void *b)
{
	const uintptr_t x = (uintptr_t)((const callee *)a)->function;
	const uintptr_t y = (uintptr_t)((const callee *)b)->function;
	return (x > y) - (x < y);
}

static int height_of(call_walk *w, const pai_function *f);

/* The greatest height among the functions that a graph calls. */
static int height_below(call_walk *w, const pai_graph *g, int depth)
{
	int most = 0;
	for (int i = 0; i < g->nodes.n && !full(w->v); i++) {
		const pai_node *n = g->nodes.at[i];
		const pai_function *f =
			n->op ? NULL
			      : pai_model_function(w->v->model, n->domain, n->op_type, n->overload);
		int h = f ? height_of(w, f) : 0;
		if (f && h < 0)
			add(w->v,
			    pai_fail(w->v->ctx, PAI_E_bad_function, pai_at_node(n),
				     "the function calls itself, directly or through others"));
		most = h > most ? h : most;
		for (int k = 0; k < n->n_attrs && depth < 64; k++) {
			if (n->attrs[k].type != PAI_ATTR_GRAPH || !n->attrs[k].g)
				continue;
			h = height_below(w, n->attrs[k].g, depth + 1);
			most = h > most ? h : most;
		}
	}
	return most;
}

static int height_of(call_walk *w, const pai_function *f)
{
	const callee key = {.function = f};
	callee *found = bsearch(&key, w->callees, (size_t)w->v->model->functions.n, sizeof key,
				compare_callees);
	const uint64_t limit = w->v->ctx->limits.function_depth;
	assert(found);
	if (found->height)
		return found->height;
	if ((uint64_t)w->depth >= limit) {
		add(w->v,
		    pai_fail(w->v->ctx, PAI_E_limit, pai_at_nothing(),
			     "function \"%s\": calls are nested deeper than function_depth, %llu",
			     pai_escape(w->v->arena, f->name), (unsigned long long)limit));
		return 0;
	}
	found->height = -1;
	w->depth++;
	int below = height_below(w, f->graph, 0);
	w->depth--;
	return found->height = below + 1;
}

static void verify_functions(verifier *v)
{
	const pai_model *m = v->model;
	call_walk w = {.v = v, .callees = PAI_NEWS(v->arena, callee, m->functions.n)};
	for (int i = 0; i < m->functions.n; i++)
		w.callees[i].function = m->functions.at[i];
	qsort(w.callees, (size_t)m->functions.n, sizeof *w.callees, compare_callees);
	for (int i = 0; i < m->functions.n && !full(v); i++) {
		const pai_function *f = m->functions.at[i];
		if (pai_model_function(m, f->domain, f->name, f->overload) != f)
			add(v, pai_fail(v->ctx, PAI_E_duplicate, pai_at_nothing(),
					"function \"%s\" of domain \"%s\" is defined twice",
					pai_escape(v->arena, f->name),
					pai_escape(v->arena, f->domain)));
		(void)height_of(&w, f);
		verify_graph(v, f->graph, NULL);
	}
}

pai_status pai_verify(const pai_model *m)
{
	verifier v = {.model = m, .ctx = m->ctx, .arena = pai_arena_new(m->ctx)};
	verify_graph(&v, m->graph, NULL);
	verify_functions(&v);
	pai_arena_free(v.arena);
	return v.errors ? v.status : PAI_OK;
}
