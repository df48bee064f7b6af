/* eval.c -- one node on given contents, by the reference kernels: constant folding, tests.
 *
 * A node with a kernel is called directly. What needs an executor of its own (a call of a
 * model-local function, a node with subgraphs) becomes the only node of a small plan. */
#include "runtime/run.h"
#include <string.h>

typedef struct evaluation { /* owner of the run */
	pai_arena *arena;   /* of the outputs */
	uint64_t max_bytes;
} evaluation;

static pai_status give_memory(pai_ctx *ctx, const evaluation *e, const pai_node *n, int o,
			      pai_tensor *t, pai_dtype dtype, int rank, const int64_t *dims)
{
	size_t nbytes;
	if (rank > PAI_MAX_RANK || !pai_tensor_nbytes(dtype, rank, dims, &nbytes))
		return pai_fail(ctx, PAI_E_run_memory, pai_at_output(n, o),
				"has a shape beyond all limits");
	if (nbytes > e->max_bytes)
		return pai_fail(ctx, PAI_E_limit, pai_at_output(n, o),
				"would take %zu bytes, allowed are %llu", nbytes,
				(unsigned long long)e->max_bytes);
	void *data = nbytes ? pai_arena_bulk(e->arena, nbytes) : NULL;
	if (nbytes && !data)
		return pai_fail(ctx, PAI_E_memory, pai_at_output(n, o), "no memory for %zu bytes",
				nbytes);
	*t = (pai_tensor){.dtype = dtype, .rank = rank, .data = data, .nbytes = nbytes};
	t->dims = pai_arena_dup(e->arena, dims, sizeof *dims * (size_t)rank);
	return PAI_OK;
}

static pai_status output(pai_call *c, int o, pai_dtype dtype, int rank, const int64_t *dims)
{
	return give_memory(c->ctx, c->run->owner, c->node, o, c->out[o], dtype, rank, dims);
}

/* What the shape rule can tell before the kernel runs. */
static pai_status shape_outputs(pai_ctx *ctx, const evaluation *e, const pai_node *n,
				const pai_tensor *const *in, pai_tensor *const *out)
{
	pai_type *types = PAI_NEWS(e->arena, pai_type, n->n_out + 1);
	PAI_TRY(pai_shape_node(ctx, e->arena, n, in, types));
	for (int o = 0; o < n->n_out; o++) {
		const pai_type *t = &types[o];
		bool known = t->rank >= 0 && t->dtype != PAI_UNDEFINED;
		for (int d = 0; known && d < t->rank; d++)
			known = t->dims[d] >= 0;
		if (!out[o])
			continue;
		*out[o] = (pai_tensor){.dtype = t->dtype, .rank = -1};
		if (known)
			PAI_TRY(give_memory(ctx, e, n, o, out[o], t->dtype, t->rank, t->dims));
	}
	return PAI_OK;
}

/* Kernels read elements at their natural alignment; contents of a mapped file may have none. */
static pai_status align_inputs(pai_ctx *ctx, const evaluation *e, const pai_node *n,
			       const pai_tensor **in)
{
	for (int i = 0; i < n->n_in; i++) {
		const pai_tensor *t = in[i];
		if (!t || !t->data || (uintptr_t)t->data % sizeof(double) == 0)
			continue;
		pai_tensor *copy = pai_tensor_new(e->arena, t->dtype, t->rank, t->dims);
		if (!copy)
			return pai_fail(ctx, PAI_E_memory, pai_at_input(n, i), "no memory");
		pai_copy(copy->data, t->data, copy->nbytes);
		in[i] = copy;
	}
	return PAI_OK;
}

static pai_status call_kernel(pai_ctx *ctx, const evaluation *e, const pai_node *n,
			      const pai_kernel *k, const pai_tensor *const *in,
			      pai_tensor *const *out)
{
	const pai_tensor **aligned = PAI_NEWS(e->arena, const pai_tensor *, n->n_in + 1);
	pai_copy(aligned, in, sizeof *aligned * (size_t)n->n_in);
	PAI_TRY(align_inputs(ctx, e, n, aligned));
	PAI_TRY(shape_outputs(ctx, e, n, aligned, out));
	evaluation own = *e;
	pai_run run = {
		.ctx = ctx, .threads = 1, .output = output, .owner = &own, .strings = e->arena};
	pai_call c = {.ctx = ctx,
		      .node = n,
		      .kernel = k,
		      .n_in = n->n_in,
		      .n_out = n->n_out,
		      .in = aligned,
		      .out = out,
		      .run = &run};
	pai_status st = pai_budget_work(ctx, pai_at_node(n),
					pai_node_work(n, n->n_in, aligned, n->n_out,
						      (const pai_tensor *const *)out, false));
	if (st == PAI_OK)
		st = k->run(&c);
	run.strings = NULL; /* results point into it */
	pai_run_free(&run);
	return st;
}

static bool listed(pai_value *const *values, int n, const pai_value *v)
{
	for (int i = 0; i < n; i++)
		if (values[i] == v)
			return true;
	return false;
}

/* A view of the node's graph that has only this node: its inputs are the graph's. */
static pai_status run_alone(pai_ctx *ctx, const evaluation *e, const pai_node *n,
			    const pai_tensor *const *in, pai_tensor *const *out)
{
	pai_graph g = *n->graph;
	pai_node *only = (pai_node *)n;
	g.nodes.at = &only;
	g.nodes.n = 1;
	g.inputs.at = PAI_NEWS(e->arena, pai_value *, n->n_in + 1);
	g.inputs.n = 0;
	g.outputs.at = PAI_NEWS(e->arena, pai_value *, n->n_out + 1);
	g.outputs.n = 0;
	const pai_tensor **given = PAI_NEWS(e->arena, const pai_tensor *, n->n_in + 1);
	for (int i = 0; i < n->n_in; i++)
		if (n->in[i] && !n->in[i]->init && !listed(g.inputs.at, g.inputs.n, n->in[i])) {
			given[g.inputs.n] = in[i];
			g.inputs.at[g.inputs.n++] = n->in[i];
		}
	for (int o = 0; o < n->n_out; o++)
		if (n->out[o])
			g.outputs.at[g.outputs.n++] = n->out[o];
	pai_plan *plan;
	const pai_plan_options options = {.backend = PAI_REFERENCE, .threads = 1};
	PAI_TRY(pai_plan_new(ctx, &g, g.inputs.n, given, &options, &plan));
	const pai_tensor **results = PAI_NEWS(e->arena, const pai_tensor *, n->n_out + 1);
	pai_status st = pai_plan_run(plan, given, results);
	for (int o = 0, k = 0; st == PAI_OK && o < n->n_out; o++) {
		if (!n->out[o])
			continue;
		const pai_tensor *r = results[k++];
		st = give_memory(ctx, e, n, o, out[o], r->dtype, r->rank, r->dims);
		if (st == PAI_OK)
			pai_copy(out[o]->data, r->data, out[o]->nbytes);
	}
	pai_plan_free(plan);
	return st;
}

pai_status pai_eval_node(pai_ctx *ctx, pai_arena *a, const pai_node *n, const pai_tensor *const *in,
			 uint64_t max_bytes, pai_tensor **out)
{
	const evaluation e = {a, max_bytes ? max_bytes : pai_run_bytes(ctx)};
	const pai_kernel *k = n->op ? pai_op_kernel(n->op) : NULL;
	for (int o = 0; o < n->n_out; o++)
		out[o] = n->out[o] ? PAI_NEW(a, pai_tensor) : NULL;
	if (k && !(n->op->traits & PAI_TRAIT_CONTROL))
		return call_kernel(ctx, &e, n, k, in, out);
	if (k || pai_model_function(n->graph->model, n->domain, n->op_type, n->overload))
		return run_alone(ctx, &e, n, in, out);
	return pai_fail(ctx, PAI_E_no_kernel, pai_at_node(n),
			"operator \"%s\" of domain \"%s\" cannot be executed", n->op_type,
			*n->domain ? n->domain : "ai.onnx");
}
