/* shape_rules_control.c -- rules of If, Loop and Scan: their subgraphs are inferred with the types
 * that come in, and what may differ from branch to branch or from one iteration to the next is made
 * general. A loop body is inferred with the initial types first; where its results differ from them
 * it is inferred again with what differs forgotten, so that the types hold for every iteration.
 */
#include "compiler/compiler.h"
#include <string.h>

static pai_status no_subgraph(pai_shape_ctx *s, const char *name)
{
	return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, name),
			"is missing or no graph");
}

static pai_graph *subgraph_of(const pai_shape_ctx *s, const char *name)
{
	const pai_attr *a = pai_node_attr(s->node, name);
	return a && a->type == PAI_ATTR_GRAPH ? a->g : NULL;
}

/* Keeps of *a what holds for b as well. Returns false where element types contradict. */
static bool join(pai_shape_ctx *s, pai_type *a, const pai_type *b)
{
	if (a->kind == PAI_TYPE_UNKNOWN || b->kind == PAI_TYPE_UNKNOWN || a->kind != b->kind) {
		const bool fit = a->kind == b->kind || !a->kind || !b->kind ||
				 a->kind == PAI_TYPE_OPTIONAL || b->kind == PAI_TYPE_OPTIONAL;
		*a = (pai_type){.rank = -1};
		return fit;
	}
	if (a->dtype != b->dtype && a->dtype && b->dtype)
		return false;
	if (!b->dtype)
		a->dtype = PAI_UNDEFINED;
	if (a->elem) /* types in types: of the first; their element types are checked when used */
		return true;
	if (a->rank < 0 || a->rank != b->rank) {
		a->rank = -1;
		a->dims = NULL;
		return true;
	}
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, a->rank);
	for (int i = 0; i < a->rank; i++)
		dims[i] = pai_dim_equal(a->dims[i], b->dims[i]) ? a->dims[i] : PAI_DIM_UNKNOWN;
	a->dims = dims;
	return true;
}

static bool same(const pai_type *a, const pai_type *b)
{
	if (a->kind != b->kind || a->dtype != b->dtype || a->rank != b->rank)
		return false;
	for (int i = 0; i < a->rank; i++)
		if (a->dims[i] != b->dims[i])
			return false;
	return true;
}

static pai_status outputs_differ(pai_shape_ctx *s, int o, const pai_type *a, const pai_type *b)
{
	return pai_fail(s->ctx, PAI_E_shape_contradiction, pai_at_output(s->node, o),
			"is %s on one way and %s on another", pai_type_text(s->ctx, s->arena, a),
			pai_type_text(s->ctx, s->arena, b));
}

pai_status pai_shape_if(pai_shape_ctx *s)
{
	static const char *const names[] = {"then_branch", "else_branch"};
	pai_type *types[2];
	for (int k = 0; k < 2; k++) {
		pai_graph *g = subgraph_of(s, names[k]);
		if (!g)
			return no_subgraph(s, names[k]);
		types[k] = PAI_NEWS(s->arena, pai_type, s->n_out);
		PAI_TRY(s->subgraph(s, g, 0, NULL, s->n_out, types[k]));
	}
	for (int o = 0; o < s->n_out; o++) {
		s->out[o] = types[0][o];
		if (!join(s, &s->out[o], &types[1][o]))
			return outputs_differ(s, o, &types[0][o], &types[1][o]);
	}
	return PAI_OK;
}

/* Infers a body whose first n_state inputs after `skip` are carried from its outputs after
 * `skip_out` around to the next iteration. in[] is made as general as the iterations need. */
static pai_status carry(pai_shape_ctx *s, pai_graph *g, int skip, int skip_out, int n_state,
			int n_in, pai_type *in, int n_out, pai_type *out)
{
	for (int round = 0;; round++) {
		bool stable = true;
		PAI_TRY(s->subgraph(s, g, n_in, in, n_out, out));
		for (int k = 0; k < n_state && skip_out + k < n_out; k++) {
			pai_type now = in[skip + k];
			const pai_type *next = &out[skip_out + k];
			if (!join(s, &now, next))
				return outputs_differ(s, k, &in[skip + k], next);
			if (same(&now, &in[skip + k]))
				continue;
			stable = false;
			if (round == 1) { /* third and last: nothing but kind and element type */
				now.rank = -1;
				now.dims = NULL;
			}
			in[skip + k] = now;
		}
		if (stable || round == 2)
			return PAI_OK;
	}
}

static const pai_dim *with_axis(pai_shape_ctx *s, const pai_type *t, int64_t axis, pai_dim size)
{
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, t->rank + 1);
	for (int i = 0, from = 0; i <= t->rank; i++)
		dims[i] = i == axis ? size : t->dims[from++];
	return dims;
}

pai_status pai_shape_loop(pai_shape_ctx *s)
{
	pai_graph *g = subgraph_of(s, "body");
	const int n_state = s->n_in - 2, n_out = n_state < 0 ? 0 : s->n_out + 1;
	if (!g)
		return no_subgraph(s, "body");
	if (n_state < 0 || s->n_out < n_state)
		return PAI_OK; /* the verifier reports it */
	pai_type *in = PAI_NEWS(s->arena, pai_type, s->n_in);
	pai_type *out = PAI_NEWS(s->arena, pai_type, n_out);
	in[0] = (pai_type){.kind = PAI_TYPE_TENSOR, .dtype = PAI_INT64};
	in[1] = (pai_type){.kind = PAI_TYPE_TENSOR, .dtype = PAI_BOOL};
	for (int i = 0; i < 2; i++) /* bodies may state them as of one element */
		in[i].rank = -1;
	for (int i = 2; i < s->n_in; i++)
		in[i] = s->in[i] ? *s->in[i] : (pai_type){.rank = -1};
	PAI_TRY(carry(s, g, 2, 1, n_state, s->n_in, in, n_out, out));
	for (int o = 0; o < n_state; o++) {
		s->out[o] = in[2 + o]; /* also what no iteration at all gives */
		if (s->out[o].kind == PAI_TYPE_UNKNOWN && out[1 + o].kind != PAI_TYPE_UNKNOWN)
			s->out[o] = (pai_type){.kind = out[1 + o].kind,
					       .dtype = out[1 + o].dtype,
					       .rank = -1,
					       .elem = out[1 + o].elem};
	}
	for (int o = n_state; o < s->n_out; o++) {
		const pai_type *t = &out[1 + o];
		s->out[o] = *t;
		if (t->rank >= 0)
			pai_shape_set(s, o, t->rank + 1, with_axis(s, t, 0, PAI_DIM_UNKNOWN));
	}
	return PAI_OK;
}

static pai_type without_axis(pai_shape_ctx *s, const pai_type *t, int64_t axis, int n)
{
	pai_type u = *t;
	if (t->rank < n)
		return (pai_type){.kind = t->kind, .dtype = t->dtype, .rank = -1};
	pai_dim *dims = PAI_NEWS(s->arena, pai_dim, t->rank);
	u.rank = 0;
	for (int i = 0; i < t->rank; i++)
		if (i < axis || i >= axis + n)
			dims[u.rank++] = t->dims[i];
	u.dims = dims;
	return u;
}

/* Axis k of the list attribute `name`, made non-negative. */
static pai_status scan_axis(pai_shape_ctx *s, const char *name, int k, int n, int rank,
			    int64_t *out)
{
	const int64_t *axes;
	int count = pai_node_ints(s->node, name, &axes);
	if (count >= 0 && count != n)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, name),
				"needs %d values, has %d", n, count);
	return pai_shape_axis(s, count < 0 ? 0 : axes[k], rank, out);
}

typedef struct scan { /* of one Scan node */
	bool batched; /* version 8: a leading batch axis everywhere, sequence_lens as input 0 */
	int first;    /* input of the first state */
	int n_state, n_scan;
	pai_dim batch, length;
	pai_type *in, *out; /* of the body */
} scan;

static pai_status scan_inputs(pai_shape_ctx *s, scan *c)
{
	for (int k = 0; k < c->n_state + c->n_scan; k++) {
		const int i = c->first + k;
		const bool scanned = k >= c->n_state;
		int64_t axis = 0;
		c->in[k] = s->in[i] ? *s->in[i] : (pai_type){.rank = -1};
		if (!pai_shape_known(s, i) || (!scanned && !c->batched))
			continue;
		if (c->batched && s->in[i]->rank < 1 + scanned)
			return pai_fail(s->ctx, PAI_E_shape_rank, pai_at_input(s->node, i),
					"has rank %d, needs at least %d", s->in[i]->rank,
					1 + scanned);
		if (scanned && !c->batched)
			PAI_TRY(scan_axis(s, "scan_input_axes", k - c->n_state, c->n_scan,
					  s->in[i]->rank, &axis));
		const pai_dim size = s->in[i]->dims[scanned && c->batched ? 1 : axis];
		if (c->batched && s->in[i]->dims[0] != PAI_DIM_UNKNOWN)
			c->batch = s->in[i]->dims[0];
		if (scanned && c->length >= 0 && size >= 0 && size != c->length)
			return pai_fail(s->ctx, PAI_E_shape_sizes, pai_at_input(s->node, i),
					"has %lld steps, another input has %lld", (long long)size,
					(long long)c->length);
		if (scanned && c->length < 0 && size != PAI_DIM_UNKNOWN)
			c->length = size;
		c->in[k] = without_axis(s, s->in[i], axis, c->batched && scanned ? 2 : 1);
	}
	return PAI_OK;
}

static pai_status scan_outputs(pai_shape_ctx *s, const scan *c)
{
	for (int o = 0; o < s->n_out; o++) {
		const bool scanned = o >= c->n_state;
		const pai_type *t = scanned ? &c->out[o] : &c->in[o];
		int64_t axis = 0;
		s->out[o] = *t;
		if (t->rank < 0 || (!scanned && !c->batched))
			continue;
		if (scanned && !c->batched)
			PAI_TRY(scan_axis(s, "scan_output_axes", o - c->n_state,
					  s->n_out - c->n_state, t->rank + 1, &axis));
		pai_type u = *t;
		if (scanned) {
			u.dims = (pai_dim *)with_axis(s, t, axis, c->length);
			u.rank++;
		}
		if (c->batched) {
			u.dims = (pai_dim *)with_axis(s, &u, 0, c->batch);
			u.rank++;
		}
		pai_shape_set(s, o, u.rank, u.dims);
	}
	return PAI_OK;
}

pai_status pai_shape_scan(pai_shape_ctx *s)
{
	pai_graph *g = subgraph_of(s, "body");
	scan c = {.batched = s->node->op && s->node->op->since == 8,
		  .batch = PAI_DIM_UNKNOWN,
		  .length = PAI_DIM_UNKNOWN};
	const int64_t n_scan = pai_node_int(s->node, "num_scan_inputs", 0);
	c.first = c.batched;
	if (!g)
		return no_subgraph(s, "body");
	if (n_scan < 1 || n_scan > s->n_in - c.first)
		return pai_fail(s->ctx, PAI_E_shape_attr, pai_at_attr(s->node, "num_scan_inputs"),
				"is %lld, must be in [1, %d]", (long long)n_scan,
				s->n_in - c.first);
	c.n_scan = (int)n_scan;
	c.n_state = s->n_in - c.first - c.n_scan;
	if (s->n_out < c.n_state)
		return PAI_OK; /* the verifier reports it */
	c.in = PAI_NEWS(s->arena, pai_type, s->n_in);
	c.out = PAI_NEWS(s->arena, pai_type, s->n_out);
	PAI_TRY(scan_inputs(s, &c));
	PAI_TRY(carry(s, g, 0, 0, c.n_state, c.n_state + c.n_scan, c.in, s->n_out, c.out));
	return scan_outputs(s, &c);
}
