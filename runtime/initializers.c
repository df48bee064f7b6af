/* initializers.c -- contents of weights that a model leaves to us.
 *
 * Metadata of the graph "pai.init.<name>" asks for it; the name is an initialiser, or an input
 * without contents, as a model in text form has it.
 *
 * For a layer y = W x with fan_in inputs and fan_out outputs of a neuron (He et al. 2015, Glorot
 * and Bengio 2010, LeCun et al. 1998), variance of an element of W:
 *
 *     he 2 / fan_in,   xavier 2 / (fan_in + fan_out),   lecun 1 / fan_in
 *
 * A uniform one is drawn from [-sqrt(3 variance), sqrt(3 variance)).
 */
#include "runtime/runtime.h"
#include <math.h>
#include <string.h>

typedef struct initializer {
	const char *name;
	double numerator; /* variance = numerator / fans; 0: a constant */
	double in, out;   /* fans = in * fan_in + out * fan_out */
	bool uniform;
	float constant;
} initializer;

static const initializer rows[] = {
	{.name = "he_normal", .numerator = 2, .in = 1},
	{.name = "he_uniform", .numerator = 2, .in = 1, .uniform = true},
	{.name = "lecun_normal", .numerator = 1, .in = 1},
	{.name = "lecun_uniform", .numerator = 1, .in = 1, .uniform = true},
	{.name = "ones", .constant = 1},
	{.name = "xavier_normal", .numerator = 2, .in = 1, .out = 1},
	{.name = "xavier_uniform", .numerator = 2, .in = 1, .out = 1, .uniform = true},
	{.name = "zeros"},
	{.name = NULL},
};

static const pai_node *first_reader(const pai_value *v, int *slot)
{
	for (int i = 0; i < v->graph->nodes.n; i++)
		for (int k = 0; k < v->graph->nodes.at[i]->n_in; k++)
			if (v->graph->nodes.at[i]->in[k] == v) {
				*slot = k;
				return v->graph->nodes.at[i];
			}
	return NULL;
}

static void fans(const pai_value *v, double *in, double *out)
{
	const int64_t *d = v->init->dims;
	int rank = v->init->rank, slot = 0;
	*in = *out = 1;
	if (rank < 2)
		return;
	const pai_node *n = first_reader(v, &slot);
	bool conv = n && pai_node_is(n, "Conv"), transpose = n && pai_node_is(n, "ConvTranspose");
	double field = 1;
	for (int i = 2; (conv || transpose) && i < rank; i++)
		field *= (double)d[i];
	if (conv) { /* [M, C/group, k...] */
		*in = (double)d[1] * field;
		*out = (double)d[0] * field / (double)pai_node_int(n, "group", 1);
	} else if (transpose) { /* [C, M/group, k...] */
		*in = (double)d[0] * field / (double)pai_node_int(n, "group", 1);
		*out = (double)d[1] * field;
	} else { /* [in, out]; Gemm with transB: [out, in] */
		bool swap = n && pai_node_is(n, "Gemm") &&
			    pai_node_int(n, slot == 0 ? "transA" : "transB", 0) != (slot == 0);
		*in = (double)d[swap ? rank - 1 : rank - 2];
		*out = (double)d[swap ? rank - 2 : rank - 1];
	}
}

static pai_status fill(pai_ctx *ctx, const pai_value *v, const char *how)
{
	const initializer *row = pai_table_find(PAI_TABLE(rows), how);
	if (!row)
		return pai_fail(ctx, PAI_E_bad_metadata, pai_at_value(v),
				"pai.init: unknown initialisation \"%s\"%s", how,
				pai_did_you_mean(ctx, pai_table_nearest(PAI_TABLE(rows), how)));
	int64_t n = pai_tensor_nelem(v->init);
	float *out = v->init->data;
	double in, out_fan;
	fans(v, &in, &out_fan);
	double spread = row->in * in + row->out * out_fan;
	float deviation = spread > 0 ? (float)sqrt(row->numerator / spread) : 0;
	float bound = deviation * sqrtf(3);
	pai_random r = pai_random_new(ctx->seed, pai_hash(PAI_HASH, v->name, strlen(v->name)), 0);
	for (int64_t i = 0; i < n; i++) {
		if (row->numerator == 0)
			out[i] = row->constant;
		else if (row->uniform)
			out[i] = bound * (2 * pai_random_uniform(&r, (uint64_t)i) - 1);
		else
			out[i] = deviation * pai_random_normal(&r, (uint64_t)i);
	}
	return PAI_OK;
}

/* An input that is to have contents becomes an initialiser. */
static void make_initializer(pai_graph *g, pai_value *v)
{
	int n = 0;
	for (int i = 0; i < g->inputs.n; i++)
		if (g->inputs.at[i] != v)
			g->inputs.at[n++] = g->inputs.at[i];
	if (n == g->inputs.n)
		return;
	g->inputs.n = n;
	v->is_input = false;
	PAI_PUSH(g->model->arena, g->inits, v);
}

static pai_status make(pai_model *m, const char *name, const char *how)
{
	pai_value *v = pai_graph_value(m->graph, name);
	if (!v || (!v->init && !v->is_input))
		return pai_fail(m->ctx, PAI_E_bad_metadata, pai_at_file(m->path),
				"pai.init: there is no input or initialiser \"%s\"", name);
	const pai_type *t = &v->type;
	bool known = t->kind == PAI_TYPE_TENSOR && t->dtype == PAI_FLOAT && t->rank >= 0;
	for (int i = 0; i < t->rank; i++)
		known &= t->dims[i] >= 0;
	if (!known)
		return pai_fail(m->ctx, PAI_E_bad_metadata, pai_at_value(v),
				"pai.init: only float tensors of known sizes can be made");
	pai_tensor *made = pai_tensor_new(m->arena, PAI_FLOAT, t->rank, t->dims);
	if (!made)
		return pai_fail(m->ctx, PAI_E_memory, pai_at_value(v), "to make it");
	made->name = v->name;
	if (!v->init)
		make_initializer(m->graph, v);
	v->init = made;
	return fill(m->ctx, v, how);
}

pai_status pai_model_initialize(pai_model *m)
{
	static const char prefix[] = "pai.init.";
	pai_props *p = &m->graph->props;
	for (int i = 0; i < p->n;) {
		const pai_prop at = p->at[i];
		if (strncmp(at.key, prefix, sizeof prefix - 1) != 0) {
			i++;
			continue;
		}
		PAI_TRY(make(m, at.key + sizeof prefix - 1, at.value));
		memmove(&p->at[i], &p->at[i + 1], sizeof at * (size_t)(p->n - i - 1));
		p->n--;
		m->epoch++;
	}
	return PAI_OK;
}
