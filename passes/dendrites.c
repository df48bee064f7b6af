/* dendrites.c -- the parts of dendrites: layers, activations, initialisations, tagged nodes. */
#include "passes/dendrites.h"
#include <math.h>
#include <string.h>

/* ---- activations ---- */

static pai_value *constant(pai_patch *p, const pai_value *like, const char *hint, double v)
{
	pai_dtype dtype = like->type.dtype ? like->type.dtype : PAI_FLOAT;
	pai_tensor *t = pai_tensor_new(like->graph->model->arena, dtype, 0, NULL);
	pai_tensor_set(t, 0, v);
	return pai_patch_init(p, hint, t);
}

static pai_value *emit_abs(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP1(p, "Abs", hint, x);
}

static pai_value *emit_gelu(pai_patch *p, const char *hint, pai_value *x)
{
	pai_value *scaled =
		PAI_OP2(p, "Mul", hint, x, constant(p, x, "gelu_scale", 0.70710678118654752));
	pai_value *tail = PAI_OP1(p, "Erf", hint, scaled);
	pai_value *half = PAI_OP2(p, "Mul", hint, x, constant(p, x, "gelu_half", 0.5));
	pai_value *up = PAI_OP2(p, "Add", hint, tail, constant(p, x, "gelu_one", 1));
	return PAI_OP2(p, "Mul", hint, half, up);
}

static pai_value *emit_lin(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP1(p, "Identity", hint, x);
}

static pai_value *emit_relu(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP1(p, "Relu", hint, x);
}

static pai_value *emit_sigmoid(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP1(p, "Sigmoid", hint, x);
}

static pai_value *emit_sq(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP2(p, "Mul", hint, x, x);
}

static pai_value *emit_tanh(pai_patch *p, const char *hint, pai_value *x)
{
	return PAI_OP1(p, "Tanh", hint, x);
}

static const pai_dendrite_activation activations[] = {
#define ACTIVATION(name, opset, meaning) {#name, meaning, opset, emit_##name},
#define INIT(name, meaning)
#include "passes/dendrites.def"
#undef INIT
#undef ACTIVATION
	{NULL, NULL, 0, NULL}};

const pai_dendrite_activation *pai_dendrite_activation_find(const char *name)
{
	return pai_table_find(PAI_TABLE(activations), name);
}

/* ---- initialisations ---- */

static double init_he(double fan_in, double scale)
{
	(void)scale;
	return sqrt(2 / fan_in);
}

static double init_normal(double fan_in, double scale)
{
	(void)fan_in;
	return scale;
}

static double init_zeros(double fan_in, double scale)
{
	(void)fan_in, (void)scale;
	return 0;
}

static const pai_dendrite_init inits[] = {
#define ACTIVATION(name, opset, meaning)
#define INIT(name, meaning) {#name, meaning, init_##name},
#include "passes/dendrites.def"
#undef INIT
#undef ACTIVATION
	{NULL, NULL, NULL}};

const pai_dendrite_init *pai_dendrite_init_find(const char *name)
{
	return pai_table_find(PAI_TABLE(inits), name);
}

/* ---- layers ---- */

const pai_tensor *pai_parameter_of(const pai_value *v)
{
	while (v && v->producer && pai_transform_of(v->producer))
		v = pai_node_in(v->producer, 0);
	return !v ? NULL : v->init ? v->init : pai_value_constant(v);
}

/* The only reader of v in its own graph, where it has exactly one and is no output. */
static pai_node *only_reader(const pai_uses *uses, const pai_value *v)
{
	if (v->is_output || pai_uses_count(uses, v) != 1)
		return NULL;
	pai_use use = uses->of[v->id][0];
	return use.slot >= 0 && use.node->graph == v->graph ? use.node : NULL;
}

static bool is_float(pai_dtype d)
{
	return d == PAI_FLOAT || d == PAI_DOUBLE || d == PAI_FLOAT16;
}

/* The Add of a bias [.., 1, channels] behind a MatMul. */
static bool take_bias_add(const pai_uses *uses, pai_layer *l)
{
	pai_node *add = only_reader(uses, l->y);
	if (!add || !pai_node_is(add, "Add"))
		return false;
	const pai_tensor *b = pai_parameter_of(add->in[add->in[0] == l->y]);
	if (!b || b->rank < 1 || b->dims[b->rank - 1] != l->channels ||
	    pai_tensor_nelem(b) != l->channels)
		return false;
	l->add = add;
	l->b = b;
	l->y = add->out[0];
	return true;
}

static void take_batchnorm(const pai_uses *uses, pai_layer *l)
{
	pai_node *bn = only_reader(uses, l->y);
	if (!bn || !pai_node_is(bn, "BatchNormalization") || bn->n_in != 5 || bn->in[0] != l->y)
		return;
	for (int i = 1; i < 5; i++) {
		const pai_tensor *t = pai_parameter_of(bn->in[i]);
		if (!t || pai_tensor_nelem(t) != l->channels)
			return;
	}
	l->bn = bn;
	l->y = bn->out[0];
}

bool pai_layer_of(const pai_uses *uses, pai_node *n, pai_layer *out)
{
	bool conv = pai_node_is(n, "Conv"), up = pai_node_is(n, "ConvTranspose");
	bool gemm = pai_node_is(n, "Gemm"), matmul = pai_node_is(n, "MatMul");
	if (!(conv || up || gemm || matmul) || pai_prop_get(&n->props, PAI_DENDRITE_LAYER))
		return false;
	pai_value *x = pai_node_in(n, 0), *b = pai_node_in(n, 2);
	const pai_tensor *w = pai_node_in(n, 1) ? pai_parameter_of(n->in[1]) : NULL;
	if (!x || pai_parameter_of(x) || !w || !is_float(w->dtype) || w->rank < 2)
		return false;
	*out = (pai_layer){.name = pai_node_label(n), .op = n, .x = x, .y = n->out[0], .w = w};
	out->b = b ? pai_parameter_of(b) : NULL;
	if (b && !out->b)
		return false;
	if (conv || up) {
		out->spatial = w->rank - 2;
		out->channels = conv ? w->dims[0] : w->dims[1] * pai_node_int(n, "group", 1);
	} else {
		if (w->rank != 2 || (gemm && pai_node_int(n, "transA", 0)))
			return false;
		out->channels = w->dims[gemm && pai_node_int(n, "transB", 0) ? 0 : 1];
	}
	if (out->channels <= 0 || pai_tensor_nelem(w) <= 0)
		return false;
	if (matmul)
		(void)take_bias_add(uses, out);
	take_batchnorm(uses, out);
	return true;
}

/* ---- branches ---- */

static const char *parameter_name(const pai_branch *b, const char *part)
{
	const char *name =
		pai_arena_printf(b->arena, "%s.dendrite.%d.%s", b->layer->name, b->index, part);
	for (int i = 1; pai_map_get(b->layer->op->graph->model->taken, name); i++)
		name = pai_arena_printf(b->arena, "%s.dendrite.%d.%s_%d", b->layer->name, b->index,
					part, i);
	return name;
}

static pai_value *add_parameter(pai_branch *b, const char *name, pai_tensor *t)
{
	pai_value *v = pai_patch_init(b->patch, name, t);
	pai_patch_name(b->patch, v, name);
	if (b->lr != 1)
		pai_patch_graph_prop(b->patch, pai_arena_printf(b->arena, "pai.lr.%s", name),
				     pai_arena_printf(b->arena, "%g", b->lr));
	return v;
}

static pai_status no_memory(const pai_branch *b)
{
	return pai_fail(b->ctx, PAI_E_memory, pai_at_node(b->layer->op),
			"no memory for the parameters of a dendrite");
}

pai_status pai_branch_parameter(pai_branch *b, const char *part, int rank, const int64_t *dims,
				double deviation, double value, pai_value **out)
{
	const char *name = parameter_name(b, part);
	pai_tensor *t = pai_tensor_new(b->arena, b->dtype, rank, dims);
	if (!t)
		return no_memory(b);
	/* The same layer and index give the same numbers, whatever else is in the model. */
	pai_random r = pai_random_new(b->ctx->seed, pai_hash(PAI_HASH, name, strlen(name)), 0);
	int64_t n = pai_tensor_nelem(t);
	for (int64_t i = 0; i < n; i++)
		pai_tensor_set(t, i,
			       deviation != 0
				       ? deviation * (double)pai_random_normal(&r, (uint64_t)i)
				       : value);
	*out = add_parameter(b, name, t);
	return PAI_OK;
}

pai_status pai_branch_copy(pai_branch *b, const char *part, const pai_tensor *from, pai_value **out)
{
	pai_tensor *t = pai_tensor_new(b->arena, from->dtype, from->rank, from->dims);
	if (!t)
		return no_memory(b);
	pai_copy(t->data, from->data, from->nbytes);
	*out = add_parameter(b, parameter_name(b, part), t);
	return PAI_OK;
}

static void tag(pai_branch *b, pai_node *n, const char *role)
{
	pai_patch_set_prop(b->patch, n, PAI_DENDRITE_LAYER, b->layer->name);
	pai_patch_set_prop(b->patch, n, PAI_DENDRITE_INDEX,
			   pai_arena_printf(b->arena, "%d", b->index));
	pai_patch_set_prop(b->patch, n, PAI_DENDRITE_ROLE, role);
	pai_patch_set_prop(b->patch, n, PAI_DENDRITE_RECIPE, b->recipe);
}

pai_node *pai_branch_node(pai_branch *b, const char *role, const char *op_type, int n_in,
			  pai_value *const *in, int n_out, const pai_node *like)
{
	const char *hint =
		pai_arena_printf(b->arena, "%s.dendrite.%d.%s", b->layer->name, b->index, op_type);
	pai_node *n = pai_patch_node(b->patch, "", op_type, hint, n_in, in, n_out);
	if (like)
		pai_patch_copy_attrs(b->patch, n, like);
	n->out[0]->type.dtype = b->dtype;
	tag(b, n, role);
	return n;
}

pai_value *pai_branch_activate(pai_branch *b, const pai_dendrite_activation *f, pai_value *z)
{
	const char *hint = pai_arena_printf(b->arena, "%s.dendrite.%d.f", b->layer->name, b->index);
	pai_value *a = f->emit(b->patch, hint, z);
	PAI_VEC(pai_node *) open = {0}; /* what it emitted between z and a */
	if (a->producer)
		PAI_PUSH(b->arena, open, a->producer);
	for (int i = 0; i < open.n; i++) {
		pai_node *n = open.at[i];
		for (int k = 0; k < n->n_in; k++)
			if (n->in[k] != z && n->in[k]->id < 0 && n->in[k]->producer)
				PAI_PUSH(b->arena, open, n->in[k]->producer);
		tag(b, n, i ? "branch" : "activation");
	}
	return a;
}
