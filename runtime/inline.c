/* inline.c -- replaces calls of model-local functions by their bodies.
 *
 * One call is one rewrite of a patch; calls in the body become calls of the graph, so they are
 * inlined in a later round. For differentiation all calls of the main graph go: a transform of
 * domain pai has rules of its own and stays a node, whether or not the file has its body; a body
 * with subgraphs is left as a call, since it cannot be differentiated anyway and the error then
 * names the call.
 */
#include "runtime/runtime.h"
#include <string.h>

static bool has_subgraphs(const pai_function *f)
{
	for (int i = 0; i < f->graph->nodes.n; i++) {
		const pai_node *n = f->graph->nodes.at[i];
		for (int k = 0; k < n->n_attrs; k++)
			if (n->attrs[k].type == PAI_ATTR_GRAPH ||
			    n->attrs[k].type == PAI_ATTR_GRAPHS)
				return true;
	}
	return false;
}

static const pai_attr *find_attr(const pai_attr *attrs, int n, const char *name)
{
	for (int i = 0; i < n; i++)
		if (strcmp(attrs[i].name, name) == 0)
			return &attrs[i];
	return NULL;
}

/* Attributes that stand for the call's own take the call's value, or the function's default; those
 * that neither gives are absent. */
static void bind_attrs(pai_arena *a, pai_node *to, const pai_node *body, const pai_node *call,
		       const pai_function *f)
{
	to->attrs = PAI_NEWS(a, pai_attr, body->n_attrs);
	to->n_attrs = 0;
	for (int i = 0; i < body->n_attrs; i++) {
		const pai_attr *attr = &body->attrs[i];
		if (attr->ref) {
			const pai_attr *given = find_attr(call->attrs, call->n_attrs, attr->ref);
			if (!given)
				given = find_attr(f->attrs, f->n_attrs, attr->ref);
			if (!given)
				continue;
			to->attrs[to->n_attrs] = *given;
		} else {
			to->attrs[to->n_attrs] = *attr;
		}
		to->attrs[to->n_attrs++].name = attr->name;
	}
}

typedef struct scope { /* one graph of the body under copy, and those around it */
	const pai_graph *from;
	pai_value **now; /* [value id] */
	const struct scope *outer;
} scope;

typedef struct inliner {
	pai_model *m;
	const pai_node *call;
	const pai_function *f;
} inliner;

static pai_value *now_of(const scope *s, pai_value *v)
{
	if (!v)
		return NULL;
	while (s && s->from != v->graph)
		s = s->outer;
	return s ? s->now[v->id] : v;
}

static void copy_subgraphs(const inliner *in, pai_node *n, pai_graph *around, const scope *outer);

static pai_value *copy_value(const inliner *in, pai_graph *to, const scope *s, const pai_value *v)
{
	pai_value *copy = pai_graph_add_value(to, pai_model_fresh_name(in->m, v->name));
	copy->type = v->type;
	copy->init = v->init;
	copy->is_input = v->is_input;
	copy->is_output = v->is_output;
	s->now[v->id] = copy;
	return copy;
}

/* A body of If, Loop or Scan, for the node n of graph `around`. Depth is bounded by the reader. */
static pai_graph *copy_graph(const inliner *in, const pai_graph *from, pai_node *n,
			     pai_graph *around, const scope *outer)
{
	pai_arena *a = in->m->arena;
	pai_graph *to = pai_graph_new(in->m, around, n, from->name);
	scope s = {from, PAI_NEWS(a, pai_value *, from->values.n + 1), outer};
	for (int i = 0; i < from->inputs.n; i++)
		PAI_PUSH(a, to->inputs, copy_value(in, to, &s, from->inputs.at[i]));
	for (int i = 0; i < from->inits.n; i++) {
		pai_value *v = s.now[from->inits.at[i]->id];
		PAI_PUSH(a, to->inits, v ? v : copy_value(in, to, &s, from->inits.at[i]));
	}
	for (int i = 0; i < from->nodes.n; i++) {
		const pai_node *old = from->nodes.at[i];
		pai_node *c =
			pai_graph_add_node(to, old->domain, old->op_type, old->n_in, old->n_out);
		c->op = old->op;
		c->overload = old->overload;
		c->name = old->name;
		c->props = old->props;
		c->changed = true;
		for (int k = 0; k < old->n_in; k++)
			c->in[k] = now_of(&s, old->in[k]);
		bind_attrs(a, c, old, in->call, in->f);
		copy_subgraphs(in, c, to, &s);
		for (int k = 0; k < old->n_out; k++) {
			if (!old->out[k])
				continue;
			c->out[k] = copy_value(in, to, &s, old->out[k]);
			c->out[k]->producer = c;
			c->out[k]->slot = k;
		}
	}
	for (int i = 0; i < from->outputs.n; i++)
		PAI_PUSH(a, to->outputs, now_of(&s, from->outputs.at[i]));
	return to;
}

static void copy_subgraphs(const inliner *in, pai_node *n, pai_graph *around, const scope *outer)
{
	for (int i = 0; i < n->n_attrs; i++) {
		pai_attr *attr = &n->attrs[i];
		if (attr->type == PAI_ATTR_GRAPH && attr->g)
			attr->g = copy_graph(in, attr->g, n, around, outer);
		if (attr->type != PAI_ATTR_GRAPHS)
			continue;
		pai_graph **graphs = PAI_NEWS(in->m->arena, pai_graph *, attr->list.n);
		for (int64_t k = 0; k < attr->list.n; k++)
			graphs[k] = copy_graph(in, attr->list.g[k], n, around, outer);
		attr->list.g = graphs;
	}
}

/* Proposes the body of f, attributes bound and subgraphs copied, in place of the call; gives what
 * replaces each output (NULL: nothing), in scratch. */
static pai_value **inline_call(pai_patch *p, pai_arena *scratch, pai_node *call,
			       const pai_function *f)
{
	pai_graph *g = call->graph;
	inliner in = {g->model, call, f};
	const pai_graph *body = f->graph;
	scope s = {body, PAI_NEWS(scratch, pai_value *, body->values.n + 1), NULL};
	pai_patch_begin(p, call, f->name);
	for (int i = 0; i < body->inputs.n; i++)
		s.now[body->inputs.at[i]->id] = pai_node_in(call, i);
	for (int i = 0; i < body->nodes.n; i++) {
		const pai_node *old = body->nodes.at[i];
		pai_value **operands = PAI_NEWS(scratch, pai_value *, old->n_in + 1);
		for (int k = 0; k < old->n_in; k++)
			operands[k] = now_of(&s, old->in[k]);
		pai_node *n = pai_patch_node(p, old->domain, old->op_type, pai_node_label(old),
					     old->n_in, operands, old->n_out);
		n->op = old->op; /* of the function's opset */
		n->overload = old->overload;
		n->props = old->props;
		bind_attrs(in.m->arena, n, old, call, f);
		copy_subgraphs(&in, n, g, &s);
		for (int k = 0; k < old->n_out; k++)
			if (old->out[k])
				s.now[old->out[k]->id] = n->out[k];
	}
	pai_value **results = PAI_NEWS(scratch, pai_value *, call->n_out + 1);
	for (int i = 0; i < call->n_out && i < body->outputs.n; i++) {
		if (!call->out[i])
			continue;
		pai_value *v = s.now[body->outputs.at[i]->id];
		if (v && v->id >= 0) /* handed through: an output must have a producer */
			v = PAI_OP1(p, "Identity", body->outputs.at[i]->name, v);
		if (!v)
			continue;
		pai_patch_replace(p, call->out[i], v);
		results[i] = v;
	}
	pai_patch_erase(p, call);
	return results;
}

pai_status pai_inline_graph(pai_patch *p, pai_arena *scratch, const pai_graph *g,
			    const pai_inliner *how)
{
	const pai_ctx *ctx = g->model->ctx;
	uint64_t nodes = (uint64_t)g->nodes.n; /* with the bodies */
	uint64_t most = ctx->limits.inlined_nodes + ctx->bytes_read;
	if (most > ctx->limits.nodes)
		most = ctx->limits.nodes;
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		const pai_function *f = how->called(how->payload, n);
		if (!f)
			continue;
		nodes += (uint64_t)f->graph->nodes.n;
		if (nodes > most)
			return pai_fail(g->model->ctx, PAI_E_limit, pai_at_node(n),
					"the bodies of functions make %llu nodes, allowed are "
					"%llu (inlined_nodes)",
					(unsigned long long)nodes, (unsigned long long)most);
		how->done(how->payload, n, f, inline_call(p, scratch, n, f));
	}
	return PAI_OK;
}

typedef struct holder { /* of values, for a caller that inlines all calls of the main graph */
	int n;
	pai_value **held;
} holder;

static const pai_function *differentiable_call(void *payload, const pai_node *n)
{
	(void)payload;
	const pai_function *f =
		n->op ? NULL
		      : pai_model_function(n->graph->model, n->domain, n->op_type, n->overload);
	return f && !has_subgraphs(f) ? f : NULL;
}

/* Whoever holds an output of the call holds what replaces it. */
static void keep_track(void *payload, const pai_node *call, const pai_function *f,
		       pai_value *const *results)
{
	const holder *h = payload;
	(void)f;
	for (int i = 0; i < h->n; i++)
		for (int k = 0; k < call->n_out; k++)
			if (h->held[i] && h->held[i] == call->out[k] && results[k]) {
				h->held[i] = results[k];
				break;
			}
}

static pai_status inline_round(pai_model *m, pai_arena *scratch, holder *h, int *applied)
{
	pai_patch *p = pai_patch_new(m->graph);
	const pai_inliner how = {differentiable_call, keep_track, h};
	pai_applied done;
	PAI_TRY(pai_inline_graph(p, scratch, m->graph, &how));
	PAI_TRY(pai_patch_apply(p, -1, &done));
	*applied = done.applied;
	return PAI_OK;
}

pai_status pai_inline_calls(pai_model *m, int n_held, pai_value **held)
{
	holder h = {n_held, held};
	for (uint64_t depth = 0;; depth++) {
		pai_arena *scratch = pai_arena_new(m->ctx);
		int applied = 0;
		pai_status status = inline_round(m, scratch, &h, &applied);
		pai_arena_free(scratch);
		PAI_TRY(status);
		if (!applied)
			return depth ? pai_infer(m) : PAI_OK;
		if (depth >= m->ctx->limits.function_depth)
			return pai_fail(m->ctx, PAI_E_limit, pai_at_nothing(),
					"function_depth: functions call each other too deeply");
	}
}
