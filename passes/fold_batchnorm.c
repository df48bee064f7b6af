/* fold_batchnorm.c -- merges an inference BatchNormalization into the Conv, ConvTranspose or Gemm
 * before it:
 *     f = scale / sqrt(var + epsilon)      W' = W * f per output channel
 *     b' = (b - mean) * f + B              (computed in double, rounded once)
 * The layer's output must be read by the BatchNormalization alone. What the file says of the layer
 * (name, metadata, doc string) stays.
 */
#include "passes/passes.h"
#include <math.h>
#include <string.h>

enum { FOLDED, SHARED, NOT_CONSTANT, TRAINING };

typedef struct layer { /* where a weight keeps its output channels */
	pai_node *node;
	const pai_tensor *w, *b;
	int axis;       /* of the output channels, or of channels / group */
	int64_t groups; /* channel = (index of axis 0 / (dim 0 / groups)) * dim[axis] + index */
	int64_t channels;
} layer;

static bool layer_of(pai_node *n, layer *out)
{
	const pai_tensor *w = pai_value_constant(pai_node_in(n, 1));
	pai_value *bias = pai_node_in(n, 2);
	*out = (layer){.node = n, .w = w, .b = pai_value_constant(bias), .groups = 1};
	if (!w || w->rank < 2 || (bias && !out->b))
		return false;
	if (pai_node_is(n, "Conv")) {
		out->axis = 0;
	} else if (pai_node_is(n, "ConvTranspose")) {
		out->axis = 1;
		out->groups = pai_node_int(n, "group", 1);
	} else if (pai_node_is(n, "Gemm")) {
		out->axis = pai_node_int(n, "transB", 0) ? 0 : 1;
		if (pai_node_float(n, "beta", 1) != 1 || !n->op || n->op->since < 7)
			return false; /* the new bias is added as it is, to every row */
	} else {
		return false;
	}
	out->channels = w->dims[out->axis] * out->groups;
	return out->groups > 0 && w->dims[0] % out->groups == 0;
}

static bool is_layer(const pai_node *n)
{
	return n && (pai_node_is(n, "Conv") || pai_node_is(n, "ConvTranspose") ||
		     pai_node_is(n, "Gemm"));
}

/* Only one output is used, and no batch statistics are taken. */
static bool is_inference(const pai_node *bn)
{
	if (bn->n_out > 1 && pai_node_out(bn, 1))
		return false;
	if (pai_node_int(bn, "training_mode", 0) || pai_node_int(bn, "spatial", 1) != 1)
		return false;
	return !bn->op || bn->op->since >= 7 || pai_node_int(bn, "is_test", 0);
}

typedef struct affine { /* per output channel: y = x * f + shift */
	double *f, *shift;
} affine;

static bool affine_of(pai_arena *a, const pai_node *bn, int64_t channels, affine *out)
{
	const pai_tensor *t[4]; /* scale, B, mean, var */
	for (int i = 0; i < 4; i++) {
		t[i] = pai_value_constant(pai_node_in(bn, i + 1));
		if (!t[i] || pai_tensor_nelem(t[i]) != channels)
			return false;
	}
	const double epsilon = (double)pai_node_float(bn, "epsilon", 1e-5f);
	out->f = PAI_NEWS(a, double, channels);
	out->shift = PAI_NEWS(a, double, channels);
	for (int64_t c = 0; c < channels; c++) {
		out->f[c] = pai_tensor_get(t[0], c) / sqrt(pai_tensor_get(t[3], c) + epsilon);
		out->shift[c] = pai_tensor_get(t[1], c) - pai_tensor_get(t[2], c) * out->f[c];
	}
	return true;
}

/* Weight as [outer][axis][inner]; channel of an element from its outer and axis index. */
static pai_tensor *scaled_weight(pai_arena *a, const layer *l, const affine *s)
{
	const pai_tensor *w = l->w;
	pai_tensor *out = pai_tensor_new(a, w->dtype, w->rank, w->dims);
	if (!out)
		return NULL;
	int64_t outer = 1, inner = 1, at = 0;
	for (int i = 0; i < l->axis; i++)
		outer *= w->dims[i];
	for (int i = l->axis + 1; i < w->rank; i++)
		inner *= w->dims[i];
	const int64_t per_group = l->axis ? w->dims[0] / l->groups : 1;
	for (int64_t o = 0; o < outer; o++) {
		const int64_t base = l->axis ? o / per_group * w->dims[l->axis] : 0;
		for (int64_t m = 0; m < w->dims[l->axis]; m++) {
			const double f = s->f[base + m];
			if (w->dtype == PAI_FLOAT)
				for (int64_t i = 0; i < inner; i++, at++)
					((float *)out->data)[at] =
						(float)((double)((const float *)w->data)[at] * f);
			else
				for (int64_t i = 0; i < inner; i++, at++)
					pai_tensor_set(out, at, pai_tensor_get(w, at) * f);
		}
	}
	return out;
}

static pai_tensor *new_bias(pai_arena *a, const layer *l, const affine *s)
{
	pai_tensor *out = pai_tensor_new(a, l->w->dtype, 1, (int64_t[]){l->channels});
	int64_t given = l->b ? pai_tensor_nelem(l->b) : 0;
	for (int64_t c = 0; out && c < l->channels; c++) {
		double b = given ? pai_tensor_get(l->b, given == 1 ? 0 : c) : 0;
		pai_tensor_set(out, c, b * s->f[c] + s->shift[c]);
	}
	return out;
}

/* A Gemm's C that differs along rows is no bias. */
static bool bias_fits(const layer *l)
{
	if (!l->b)
		return true;
	int64_t n = pai_tensor_nelem(l->b);
	return n == 1 || (n == l->channels && l->b->rank && l->b->dims[l->b->rank - 1] == n);
}

/* The parameter with new contents: in its place, under its name, where the layer alone reads it. */
static pai_value *renew(pai_pass_run *r, pai_patch *out, const pai_node *n, int slot,
			const char *hint, pai_tensor *t)
{
	pai_value *v = pai_node_in(n, slot);
	if (!v || !v->init || v->is_input || v->is_output || v->graph != n->graph ||
	    pai_uses_count(r->uses, v) != 1 || v->init->rank != t->rank ||
	    v->init->nbytes != t->nbytes)
		return pai_patch_init(out, v ? v->name : hint, t);
	pai_patch_set_init(out, v, t);
	return v;
}

static pai_status propose(pai_pass_run *r, pai_patch *out, pai_node *bn, const layer *l,
			  const affine *s)
{
	pai_arena *a = bn->graph->model->arena;
	pai_node *old = l->node;
	pai_tensor *w = scaled_weight(a, l, s), *b = new_bias(a, l, s);
	pai_file_drop(r->ctx, l->w->data, l->w->nbytes); /* read for the last time */
	if (!w || !b)
		return pai_fail(r->ctx, PAI_E_memory, pai_at_node(bn), "no memory for the weights");
	pai_patch_begin(out, bn, "fold BatchNormalization");
	pai_value *in[3] = {old->in[0]};
	in[1] = renew(r, out, old, 1, NULL, w);
	in[2] = renew(r, out, old, 2,
		      pai_arena_printf(a, "%s_bias", *old->name ? old->name : bn->out[0]->name), b);
	pai_node *n = pai_patch_node(out, "", old->op_type, bn->out[0]->name, 3, in, 1);
	pai_patch_copy_attrs(out, n, old);
	pai_patch_succeed(out, n, old);
	pai_patch_replace(out, bn->out[0], n->out[0]);
	pai_patch_erase(out, bn);
	pai_patch_erase(out, old);
	pai_patch_count(out, &r->counts[FOLDED], 1);
	return PAI_OK;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *bn = g->nodes.at[i], *before;
		layer l;
		affine s;
		if (!pai_node_is(bn, "BatchNormalization") || !pai_node_in(bn, 0))
			continue;
		before = bn->in[0]->producer;
		if (!is_layer(before) || before->graph != g)
			continue;
		if (!is_inference(bn))
			r->counts[TRAINING] += r->round == 0;
		else if (bn->in[0]->is_output || pai_uses_count(r->uses, bn->in[0]) != 1)
			r->counts[SHARED] += r->round == 0;
		else if (!layer_of(before, &l) || !bias_fits(&l) ||
			 !affine_of(r->scratch, bn, l.channels, &s))
			r->counts[NOT_CONSTANT] += r->round == 0;
		else
			PAI_TRY(propose(r, out, bn, &l, &s));
	}
	return PAI_OK;
}

const pai_pass pai_pass_fold_batchnorm = {
	.name = "fold-batchnorm",
	.summary = "merge BatchNormalization into the Conv, ConvTranspose or Gemm before it",
	.needs = PAI_USES,
	.exactness = PAI_ROUNDING,
	.stats = (const char *const[]){[FOLDED] = "folded",
				       [SHARED] = "kept: the layer's output is read elsewhere",
				       [NOT_CONSTANT] = "kept: a parameter is not constant",
				       [TRAINING] = "kept: training form",
				       NULL},
	.run = run,
};
