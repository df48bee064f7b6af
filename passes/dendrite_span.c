/* dendrite_span.c -- the spans of block dendrites: two layers with activations between them.
 *
 * From the last layer's input it walks back, through whatever keeps shape and channels, to the
 * output of the one layer that all of it comes from. Pools and a Flatten on the way are noted,
 * since the branch repeats them; all else is what the branch's own activation stands for.
 */
#include "passes/dendrites.h"
#include <string.h>

const char *pai_dendrite_prop(const pai_node *n, const char *key)
{
	const char *v = pai_prop_get(&n->props, key);
	return v ? v : "";
}

static bool any_of(const pai_node *n, const char *const *ops)
{
	for (; *ops; ops++)
		if (pai_node_is(n, *ops))
			return true;
	return false;
}

/* Shape and channels stay; input 0 is what passes through. */
static bool keeps_shape(const pai_node *n)
{
	/* clang-format off */
	static const char *const ops[] = {
		"Relu", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Clip", "Sigmoid", "Tanh",
		"Softplus", "Softsign", "HardSigmoid", "Gelu", "HardSwish", "Mish", "Abs",
		"Dropout", "Identity", "Erf", "Exp", "Sqrt", "Neg", "ThresholdedRelu",
		"BatchNormalization", "InstanceNormalization", "LayerNormalization",
		"GroupNormalization", "LRN", NULL};
	/* clang-format on */
	return any_of(n, ops) || strcmp(pai_dendrite_prop(n, PAI_DENDRITE_ROLE), "combine") == 0;
}

static bool is_binary(const pai_node *n)
{
	static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Pow", NULL};
	return any_of(n, ops) && !pai_prop_get(&n->props, PAI_DENDRITE_ROLE);
}

static const pai_layer *layer_with_output(const pai_layers *layers, const pai_value *v)
{
	for (int i = 0; i < layers->n; i++)
		if (layers->at[i].y == v)
			return &layers->at[i];
	return NULL;
}

/* Where the elementwise nodes that make v come from, if that is one value: x of x * sigmoid(x). At
 * most `budget` nodes are looked at; NULL: several values, or too many nodes. */
static pai_value *origin_of(const pai_layers *layers, pai_value *v, int *budget)
{
	while ((*budget)-- > 0) {
		pai_node *n = v->producer;
		if (!n || n->graph != v->graph || !pai_node_in(n, 0) ||
		    layer_with_output(layers, v))
			return v;
		if (keeps_shape(n)) {
			v = n->in[0];
		} else if (is_binary(n)) {
			bool fixed[2] = {pai_parameter_of(n->in[0]), pai_parameter_of(n->in[1])};
			if (fixed[0] == fixed[1]) {
				pai_value *a = origin_of(layers, n->in[0], budget);
				return a && a == origin_of(layers, n->in[1], budget) ? a : NULL;
			}
			v = n->in[fixed[0]];
		} else {
			return v;
		}
	}
	return NULL;
}

bool pai_is_pool(const pai_node *n)
{
	static const char *const ops[] = {"MaxPool",       "AveragePool", "GlobalAveragePool",
					  "GlobalMaxPool", "LpPool",      NULL};
	return any_of(n, ops);
}

/* Flatten, or a Reshape of [N, C, ...] to [N, K]. */
static bool is_flatten(const pai_node *n)
{
	if (pai_node_is(n, "Flatten"))
		return pai_node_int(n, "axis", 1) == 1;
	return pai_node_is(n, "Reshape") && n->out[0]->type.rank == 2 && n->in[0]->type.rank > 2 &&
	       (pai_dim_equal(n->out[0]->type.dims[0], n->in[0]->type.dims[0]));
}

int64_t pai_layer_inputs(const pai_layer *l)
{
	if (pai_node_is(l->op, "Conv"))
		return l->w->dims[1] * pai_node_int(l->op, "group", 1);
	if (pai_node_is(l->op, "ConvTranspose"))
		return l->w->dims[0];
	return l->w->dims[pai_node_is(l->op, "Gemm") && pai_node_int(l->op, "transB", 0) ? 1 : 0];
}

/* Walks from the last layer's input back to the first layer's output. A layer's own dendrites and
 * what lies elementwise between are left out of the branch. */
bool pai_span_of(pai_arena *a, const pai_layers *layers, const pai_layer *last, pai_span *out)
{
	*out = (pai_span){.last = last, .per_channel = 1};
	pai_value *v = last->x;
	bool activated = false, flat = false;
	for (int steps = 0; steps < 64; steps++) {
		const pai_layer *l = layer_with_output(layers, v);
		pai_node *n = v->producer;
		if (l) {
			out->first = l;
			break;
		}
		if (!n || n->graph != last->op->graph || !pai_node_in(n, 0))
			return false;
		if (pai_is_pool(n) || is_flatten(n)) {
			flat |= is_flatten(n);
			PAI_PUSH(a, out->between, n);
			v = n->in[0];
		} else if (keeps_shape(n)) {
			activated |= !pai_prop_get(&n->props, PAI_DENDRITE_ROLE);
			v = n->in[0];
		} else if (is_binary(n)) {
			int budget = 64;
			v = origin_of(layers, v, &budget);
			if (!v)
				return false;
			activated = true;
		} else {
			return false;
		}
	}
	if (!out->first || !activated || out->first->w->dtype != last->w->dtype)
		return false;
	for (int i = 0; i < out->between.n / 2; i++) { /* found back to front */
		pai_node **at = out->between.at, *swap = at[i];
		at[i] = at[out->between.n - 1 - i];
		at[out->between.n - 1 - i] = swap;
	}
	int64_t channels = out->first->channels, inputs = pai_layer_inputs(last);
	out->per_channel = flat ? inputs / channels : 1;
	return flat ? inputs % channels == 0 && !last->spatial && out->first->spatial
		    : inputs == channels && !out->first->spatial == !last->spatial;
}
