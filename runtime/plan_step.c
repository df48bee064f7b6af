/* plan_step.c -- steps that call reference kernels.
 *
 * Where all shapes are known a step is a call of the kernel with arguments made beforehand. Else it
 * runs the shape rule with the contents at hand, makes room for the outputs, and lets the kernel
 * size what the rule could not.
 */
#include "runtime/fast/fast.h"
#include <assert.h>

static pai_status run_fixed(void *args, pai_run *run)
{
	pai_node_step *s = args;
	pai_mark m = pai_run_mark(run);
	s->calls = 0;
	pai_status st = s->call.kernel->run(&s->call);
	pai_run_release(run, m);
	return st;
}

static pai_status give_shape(pai_plan *p, pai_slot *s, const pai_node *n, int o, pai_dtype dtype,
			     int rank, const int64_t *dims)
{
	size_t nbytes;
	if (rank > PAI_MAX_RANK || !pai_tensor_nbytes(dtype, rank, dims, &nbytes))
		return pai_fail(p->ctx, PAI_E_run_memory, pai_at_output(n, o),
				"has a shape beyond all limits");
	PAI_TRY(pai_slot_reserve(p, s, nbytes));
	s->tensor.dtype = dtype;
	s->tensor.rank = rank;
	pai_copy(s->tensor.dims, dims, sizeof *dims * (size_t)rank);
	s->tensor.nbytes = nbytes;
	s->tensor.data = s->buffer;
	return PAI_OK;
}

pai_status pai_step_output(pai_call *c, int o, pai_dtype dtype, int rank, const int64_t *dims)
{
	pai_node_step *s = (pai_node_step *)c;
	return give_shape(s->plan, s->out[o], c->node, o, dtype, rank, dims);
}

static pai_status shape_outputs(pai_node_step *s, pai_arena *a)
{
	pai_type *types = PAI_NEWS(a, pai_type, s->call.n_out + 1);
	PAI_TRY(pai_shape_node(s->call.ctx, a, s->call.node, s->call.in, types));
	for (int o = 0; o < s->call.n_out; o++) {
		if (!s->out[o])
			continue;
		const pai_type *t = &types[o];
		bool known = t->rank >= 0 && t->dtype != PAI_UNDEFINED;
		for (int i = 0; known && i < t->rank; i++)
			known = t->dims[i] >= 0;
		s->out[o]->tensor.rank = -1;
		s->out[o]->tensor.data = NULL;
		if (t->dtype != PAI_UNDEFINED)
			s->out[o]->tensor.dtype = t->dtype;
		if (known)
			PAI_TRY(give_shape(s->plan, s->out[o], s->call.node, o, t->dtype, t->rank,
					   t->dims));
	}
	return PAI_OK;
}

enum { SHAPE_WORK = 2000 }; /* of finding the shapes of a step when it runs */

static pai_status charge(const pai_call *c)
{
	double work = pai_node_work(c->node, c->n_in, c->in, c->n_out,
				    (const pai_tensor *const *)c->out, false);
	return pai_budget_work(c->ctx, pai_at_node(c->node), SHAPE_WORK + work);
}

static pai_status run_dynamic(void *args, pai_run *run)
{
	pai_node_step *s = args;
	pai_arena *a = pai_arena_new(s->call.ctx);
	pai_status st = shape_outputs(s, a);
	pai_arena_free(a);
	if (st == PAI_OK)
		st = charge(&s->call);
	if (st == PAI_OK)
		st = run_fixed(s, run);
	for (int o = 0; st == PAI_OK && o < s->call.n_out; o++)
		if (s->out[o] && s->out[o]->tensor.rank < 0)
			st = pai_fail(s->call.ctx, PAI_E_internal, pai_at_output(s->call.node, o),
				      "the kernel gave it no shape");
	return st;
}

static pai_status make(pai_plan *p, pai_unit *u, pai_node_step **out)
{
	const pai_node *n = u->node;
	if (!u->kernel)
		return pai_fail(p->ctx, PAI_E_no_kernel, pai_at_node(n),
				"operator \"%s\" of domain \"%s\" cannot be executed", n->op_type,
				*n->domain ? n->domain : "ai.onnx");
	pai_node_step *s = PAI_NEW(p->arena, pai_node_step);
	const pai_tensor **in = PAI_NEWS(p->arena, const pai_tensor *, u->n_in + 1);
	pai_tensor **outs = PAI_NEWS(p->arena, pai_tensor *, u->n_out + 1);
	for (int i = 0; i < u->n_in; i++)
		in[i] = u->in[i] ? &u->in[i]->tensor : NULL;
	for (int o = 0; o < u->n_out; o++)
		outs[o] = u->out[o] ? &u->out[o]->tensor : NULL;
	*s = (pai_node_step){.plan = p, .unit = u, .out = u->out};
	s->call = (pai_call){.ctx = p->ctx,
			     .node = n,
			     .kernel = u->kernel,
			     .n_in = u->n_in,
			     .n_out = u->n_out,
			     .in = in,
			     .out = outs,
			     .run = &p->run};
	if (n->op->traits & PAI_TRAIT_CONTROL)
		s->subplans = pai_subplans_new(p, u);
	*out = s;
	return PAI_OK;
}

/* Outputs whose shape comes with the run need room for any shape. */
static void make_room(pai_plan *p, pai_unit *u)
{
	for (int o = 0; o < u->n_out; o++) {
		pai_slot *s = u->out[o];
		if (!s || s->place != PAI_IN_BUFFER)
			continue;
		s->tensor.dims = PAI_NEWS(p->arena, int64_t, PAI_MAX_RANK);
		s->tensor.rank = -1;
	}
}

pai_status pai_emit_kernel(pai_plan *p, pai_unit *u)
{
	pai_node_step *s;
	for (int i = 0; i < u->n_in; i++)
		u->in[i] = pai_slot_in(p, u->in[i], false);
	for (int i = 0; i < u->n_captures; i++)
		u->captures[i].slot = pai_slot_in(p, u->captures[i].slot, false);
	PAI_TRY(make(p, u, &s));
	if (u->dynamic)
		make_room(p, u);
	pai_slot **in = PAI_NEWS(p->arena, pai_slot *, u->n_in + u->n_captures + 1);
	pai_copy(in, u->in, sizeof *in * (size_t)u->n_in);
	for (int i = 0; i < u->n_captures; i++)
		in[u->n_in + i] = u->captures[i].slot;
	pai_step_info info = {.node = u->node, .name = u->node->op_type, .impl = "reference"};
	pai_plan_emit(p, (pai_step){u->dynamic ? run_dynamic : run_fixed, s}, info,
		      u->n_in + u->n_captures, in, u->n_out, u->out);
	return PAI_OK;
}

pai_status pai_unit_run_now(pai_plan *p, pai_unit *u)
{
	pai_node_step *s;
	PAI_TRY(make(p, u, &s));
	for (int o = 0; o < u->n_out; o++)
		if (u->out[o])
			u->out[o]->place = PAI_IN_BUFFER;
	make_room(p, u);
	return run_dynamic(s, &p->run);
}
