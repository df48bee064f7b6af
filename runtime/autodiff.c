/* autodiff.c -- gradients as a rewrite: reverse-mode differentiation that extends the graph.
 *
 * A value is active when it depends on something the caller wants the gradient of. Nodes are
 * walked from last to first; the rule of an active node (the `grad` cell of its row) turns the
 * gradients of its outputs into those of its inputs by emitting nodes. Where a value is read more
 * than once its contributions are added in the order of that walk, so the result is the same in
 * every run. Calls of model-local functions are replaced by their bodies first (inline.c). Bodies
 * of If, Loop and Scan are not differentiated: a gradient that would have to enter one is an error.
 */
#include "runtime/runtime.h"
#include <string.h>

struct pai_grad {
	pai_ctx *ctx;
	pai_graph *graph;
	pai_patch *patch;
	pai_arena *scratch;
	bool *active;   /* [value id] a wanted gradient flows through it */
	pai_value **of; /* [value id] its gradient so far; NULL: none */
	int n_values;   /* before the first new one */
};

pai_status pai_grad_none(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)dy, (void)dx;
	return pai_fail(g->ctx, PAI_E_no_gradient, pai_at_node(n), "is not differentiable");
}

pai_status pai_grad_zero(pai_grad *g, const pai_node *n, pai_value *const *dy, pai_value **dx)
{
	(void)g, (void)n, (void)dy, (void)dx;
	return PAI_OK;
}

pai_grad_fn pai_op_grad(const pai_op *op)
{
	static const pai_grad_fn rules[PAI_OP_COUNT] = {
#define OP(name, since, traits, in, out, attr, types, shape, kernel, grad, ...) pai_grad_##grad,
#include "schemas/all_ops.def"
#undef OP
	};
	pai_grad_fn rule = op ? rules[pai_op_id(op)] : NULL;
	return rule == pai_grad_none ? NULL : rule;
}

pai_patch *pai_grad_patch(pai_grad *g)
{
	return g->patch;
}

static bool is_active(const pai_grad *g, const pai_value *v)
{
	return v && v->graph == g->graph && v->id >= 0 && v->id < g->n_values && g->active[v->id];
}

bool pai_grad_wanted(const pai_grad *g, const pai_node *n, int input)
{
	return is_active(g, pai_node_in(n, input));
}

typedef struct capture { /* looks for active values that bodies of a node read from outside */
	const pai_grad *g;
	bool found;
} capture;

static pai_status find_capture(void *payload, pai_graph *body)
{
	capture *c = payload;
	for (int i = 0; i < body->nodes.n; i++)
		for (int k = 0; k < body->nodes.at[i]->n_in; k++)
			c->found |= is_active(c->g, body->nodes.at[i]->in[k]);
	for (int i = 0; i < body->outputs.n; i++)
		c->found |= is_active(c->g, body->outputs.at[i]);
	return PAI_OK;
}

static bool captures(const pai_grad *g, const pai_node *n)
{
	capture c = {g, false};
	for (int i = 0; i < n->n_attrs; i++) {
		const pai_attr *a = &n->attrs[i];
		if (a->type == PAI_ATTR_GRAPH && a->g)
			(void)pai_graph_walk(a->g, find_capture, &c);
		for (int64_t k = 0; a->type == PAI_ATTR_GRAPHS && k < a->list.n; k++)
			(void)pai_graph_walk(a->list.g[k], find_capture, &c);
	}
	return c.found;
}

static bool reads_active(const pai_grad *g, const pai_node *n)
{
	for (int i = 0; i < n->n_in; i++)
		if (is_active(g, n->in[i]))
			return true;
	return captures(g, n);
}

static bool may_be_float(const pai_value *v)
{
	return v->type.kind == PAI_TYPE_UNKNOWN || v->type.dtype == PAI_UNDEFINED ||
	       pai_dtype_get(v->type.dtype)->kind == PAI_KIND_FLOAT;
}

/* Activity spreads from the wanted values to everything that depends on them smoothly. */
static void mark_active(pai_grad *g, int n_wrt, pai_value *const *wrt)
{
	for (int i = 0; i < n_wrt; i++)
		g->active[wrt[i]->id] = true;
	for (int i = 0; i < g->graph->nodes.n; i++) {
		const pai_node *n = g->graph->nodes.at[i];
		if (!reads_active(g, n) || pai_op_grad(n->op) == pai_grad_zero)
			continue;
		for (int k = 0; k < n->n_out; k++)
			if (n->out[k] &&
			    (may_be_float(n->out[k]) || pai_node_is(n, "QuantizeLinear")))
				g->active[n->out[k]->id] = true;
	}
}

static void accumulate(pai_grad *g, pai_value *v, pai_value *dv)
{
	pai_value **sum = &g->of[v->id];
	*sum = *sum ? PAI_OP2(g->patch, "Add", pai_arena_printf(g->scratch, "d_%s", v->name), *sum,
			      dv)
		    : dv;
}

static pai_status differentiate(pai_grad *g, const pai_node *n)
{
	bool flows = false;
	pai_value **dy = PAI_NEWS(g->scratch, pai_value *, n->n_out);
	pai_value **dx = PAI_NEWS(g->scratch, pai_value *, n->n_in);
	for (int k = 0; k < n->n_out; k++) {
		dy[k] = is_active(g, n->out[k]) ? g->of[n->out[k]->id] : NULL;
		flows |= dy[k] != NULL;
	}
	if (!flows || !reads_active(g, n))
		return PAI_OK;
	pai_grad_fn rule = pai_op_grad(n->op);
	if (!rule)
		return pai_fail(g->ctx, PAI_E_no_gradient, pai_at_node(n),
				"a gradient would have to flow through %s, which is not "
				"differentiable here",
				n->op_type);
	if (captures(g, n))
		return pai_fail(g->ctx, PAI_E_no_gradient, pai_at_node(n),
				"a gradient would have to flow into the body of %s", n->op_type);
	pai_patch_begin(g->patch, NULL,
			pai_arena_printf(g->scratch, "gradient of %s", pai_node_label(n)));
	PAI_TRY(rule(g, n, dy, dx));
	for (int k = 0; k < n->n_in; k++)
		if (dx[k] && is_active(g, n->in[k]))
			accumulate(g, n->in[k], dx[k]);
	return PAI_OK;
}

/* Ones of the type and shape of v: an initialiser where the shape is known. */
static pai_status ones_like(pai_grad *g, pai_value *v, pai_value **out)
{
	pai_arena *a = g->graph->model->arena;
	bool known = v->type.rank >= 0;
	for (int i = 0; i < v->type.rank; i++)
		known &= v->type.dims[i] >= 0;
	pai_dtype dtype = v->type.dtype ? v->type.dtype : PAI_FLOAT;
	pai_tensor *t = pai_tensor_new(a, dtype, known ? v->type.rank : 0, v->type.dims);
	if (!t)
		return pai_fail(g->ctx, PAI_E_memory, pai_at_value(v), "for its gradient");
	for (int64_t i = 0; i < pai_tensor_nelem(t); i++)
		pai_tensor_set(t, i, 1.0);
	*out = pai_patch_init(g->patch, "ones", t);
	if (!known)
		*out = PAI_OP2(g->patch, "Expand", "ones", *out,
			       PAI_OP1(g->patch, "Shape", "shape", v));
	return PAI_OK;
}

static pai_status start(pai_grad *g, int n_of, pai_value *const *of, pai_value *const *upstream)
{
	pai_patch_begin(g->patch, NULL, "upstream gradients");
	for (int i = 0; i < n_of; i++) {
		pai_value *up = upstream ? upstream[i] : NULL;
		if (!is_active(g, of[i]) || (upstream && !up))
			continue;
		if (!up)
			PAI_TRY(ones_like(g, of[i], &up));
		accumulate(g, of[i], up);
	}
	return PAI_OK;
}

/* Results are values of their own, made by a node: a caller may give each its memory. */
static void finish(pai_grad *g, int n_wrt, pai_value *const *wrt, pai_value **out)
{
	pai_patch_begin(g->patch, NULL, "gradients");
	for (int i = 0; i < n_wrt; i++) {
		pai_value *v = g->of[wrt[i]->id];
		bool own = v && v->producer && v->id < 0;
		for (int k = 0; k < i && own; k++)
			own = out[k] != v;
		out[i] = !v || own ? v
				   : PAI_OP1(g->patch, "Identity",
					     pai_arena_printf(g->scratch, "d_%s", wrt[i]->name), v);
	}
}

static pai_status run(pai_grad *g, int n_of, pai_value *const *of, pai_value *const *upstream,
		      int n_wrt, pai_value *const *wrt, pai_value **out)
{
	pai_graph *graph = g->graph;
	g->n_values = graph->values.n;
	g->active = PAI_NEWS(g->scratch, bool, g->n_values + 1);
	g->of = PAI_NEWS(g->scratch, pai_value *, g->n_values + 1);
	mark_active(g, n_wrt, wrt);
	PAI_TRY(start(g, n_of, of, upstream));
	for (int i = graph->nodes.n - 1; i >= 0; i--)
		PAI_TRY(differentiate(g, graph->nodes.at[i]));
	pai_value **found = PAI_NEWS(g->scratch, pai_value *, n_wrt + 1);
	finish(g, n_wrt, wrt, found);
	pai_applied applied;
	PAI_TRY(pai_patch_apply(g->patch, -1, &applied));
	PAI_TRY(pai_infer(graph->model));
	pai_copy(out, found, sizeof *out * (size_t)n_wrt);
	return PAI_OK;
}

pai_status pai_autodiff(pai_model *m, int n_of, pai_value *const *of, pai_value *const *upstream,
			int n_wrt, pai_value *const *wrt, pai_value **out)
{
	pai_grad g = {.ctx = m->ctx, .graph = m->graph, .scratch = pai_arena_new(m->ctx)};
	int n = 2 * n_of + n_wrt;
	pai_value **held = PAI_NEWS(g.scratch, pai_value *, n + 1);
	pai_copy(held, of, sizeof *of * (size_t)n_of);
	if (upstream)
		pai_copy(held + n_of, upstream, sizeof *of * (size_t)n_of);
	pai_copy(held + 2 * n_of, wrt, sizeof *wrt * (size_t)n_wrt);
	pai_status status = pai_inline_calls(m, n, held);
	/* New nodes are of the newest versions; existing ones keep the rows they have. */
	pai_model_import(m, "", PAI_ONNX_OPSET);
	pai_model_import(m, PAI_DOMAIN_INTERNAL, 1);
	g.patch = pai_patch_new(m->graph);
	if (status == PAI_OK)
		status = run(&g, n_of, held, upstream ? held + n_of : NULL, n_wrt, held + 2 * n_of,
			     out);
	pai_arena_free(g.scratch);
	return status;
}
