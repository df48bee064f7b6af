/* inline.c -- replaces calls of model-local functions by their bodies, for differentiation.
 *
 * A transform of domain pai has rules of its own and stays a node, whether or not the file has its
 * body. A body with subgraphs is left as a call: it cannot be differentiated anyway, and the error
 * then names the call.
 */
#include "runtime/runtime.h"
#include <string.h>

static const pai_function *called(const pai_node *n)
{
	return n->op ? NULL
		     : pai_model_function(n->graph->model, n->domain, n->op_type, n->overload);
}

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

static void inline_call(pai_patch *p, pai_arena *scratch, pai_node *call, const pai_function *f)
{
	pai_arena *a = call->graph->model->arena;
	const pai_graph *body = f->graph;
	pai_value **now =
		PAI_NEWS(scratch, pai_value *, body->values.n + 1); /* by id in the body */
	pai_patch_begin(p, call, f->name);
	for (int i = 0; i < body->inputs.n; i++)
		now[body->inputs.at[i]->id] = pai_node_in(call, i);
	for (int i = 0; i < body->nodes.n; i++) {
		const pai_node *old = body->nodes.at[i];
		pai_value **in = PAI_NEWS(scratch, pai_value *, old->n_in + 1);
		for (int k = 0; k < old->n_in; k++)
			in[k] = old->in[k] ? now[old->in[k]->id] : NULL;
		pai_node *n = pai_patch_node(p, old->domain, old->op_type, pai_node_label(old),
					     old->n_in, in, old->n_out);
		n->op = old->op; /* of the function's opset */
		n->overload = old->overload;
		bind_attrs(a, n, old, call, f);
		for (int k = 0; k < old->n_out; k++)
			if (old->out[k])
				now[old->out[k]->id] = n->out[k];
	}
	for (int i = 0; i < call->n_out && i < body->outputs.n; i++) {
		if (!call->out[i])
			continue;
		pai_value *v = now[body->outputs.at[i]->id];
		if (v && v->id >= 0) /* handed through: an output must have a producer */
			v = PAI_OP1(p, "Identity", body->outputs.at[i]->name, v);
		if (v)
			pai_patch_replace(p, call->out[i], v);
	}
	pai_patch_erase(p, call);
}

static pai_status inline_round(pai_model *m, pai_arena *scratch, int *applied)
{
	pai_patch *p = pai_patch_new(m->graph);
	for (int i = 0; i < m->graph->nodes.n; i++) {
		pai_node *n = m->graph->nodes.at[i];
		const pai_function *f = called(n);
		if (f && !has_subgraphs(f))
			inline_call(p, scratch, n, f);
	}
	pai_applied done;
	PAI_TRY(pai_patch_apply(p, -1, &done));
	*applied = done.applied;
	return PAI_OK;
}

pai_status pai_inline_calls(pai_model *m)
{
	for (uint64_t depth = 0;; depth++) {
		pai_arena *scratch = pai_arena_new(m->ctx);
		int applied = 0;
		pai_status status = inline_round(m, scratch, &applied);
		pai_arena_free(scratch);
		PAI_TRY(status);
		if (!applied)
			return depth ? pai_infer(m) : PAI_OK;
		if (depth >= m->ctx->limits.function_depth ||
		    (uint64_t)m->graph->nodes.n > m->ctx->limits.nodes)
			return pai_fail(m->ctx, PAI_E_limit, pai_at_nothing(),
					"function_depth: functions call each other too deeply");
	}
}
