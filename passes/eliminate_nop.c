/* eliminate_nop.c -- removes nodes whose output is their first input.
 *
 * One row an operator: a test that says whether this node does nothing. Where the output is a graph
 * output and the input cannot take its name, the node stays.
 */
#include "passes/passes.h"
#include <string.h>

enum { REMOVED, NAMED_OUTPUT };

static const pai_type *type_of(const pai_value *v)
{
	return &v->type;
}

static bool always(const pai_node *n)
{
	(void)n;
	return true;
}

/* Shapes known to be equal, symbolic sizes included. */
static bool keeps_shape(const pai_node *n)
{
	const pai_type *x = type_of(n->in[0]), *y = type_of(n->out[0]);
	if (x->kind != PAI_TYPE_TENSOR || y->kind != PAI_TYPE_TENSOR || x->rank < 0 ||
	    x->rank != y->rank)
		return false;
	for (int i = 0; i < x->rank; i++)
		if (!pai_dim_equal(x->dims[i], y->dims[i]))
			return false;
	return true;
}

static bool is_identity_permutation(const pai_node *n)
{
	const int64_t *perm;
	int count = pai_node_ints(n, "perm", &perm);
	if (count < 0)
		return type_of(n->in[0])->rank == 0 || type_of(n->in[0])->rank == 1;
	for (int i = 0; i < count; i++)
		if (perm[i] != i)
			return false;
	return true;
}

static bool keeps_type(const pai_node *n)
{
	const pai_type *x = type_of(n->in[0]), *y = type_of(n->out[0]);
	return x->kind == PAI_TYPE_TENSOR && y->kind == PAI_TYPE_TENSOR && x->dtype &&
	       x->dtype == y->dtype;
}

/* Inference form, and the mask is not asked for. */
static bool drops_nothing(const pai_node *n)
{
	if (pai_node_out(n, 1))
		return false;
	if (!n->op || n->op->since < 7)
		return pai_node_int(n, "is_test", 0) == 1;
	if (n->op->since < 12)
		return true;
	const pai_value *training = pai_node_in(n, 2);
	const pai_tensor *t = pai_value_constant(training);
	return !training || (t && pai_tensor_nelem(t) == 1 && pai_tensor_get(t, 0) == 0);
}

static bool is_single(const pai_node *n)
{
	return n->n_in == 1;
}

static bool pads_nothing(const pai_node *n)
{
	const int64_t *pads;
	int count = pai_node_ints(n, n->op && n->op->since < 2 ? "paddings" : "pads", &pads);
	if (n->op && n->op->since < 11) {
		for (int i = 0; i < count; i++)
			if (pads[i])
				return false;
		return count >= 0;
	}
	const pai_tensor *t = pai_value_constant(pai_node_in(n, 1));
	for (int64_t i = 0; t && i < pai_tensor_nelem(t); i++)
		if (pai_tensor_get(t, i) != 0)
			return false;
	return t != NULL;
}

static const struct row {
	const char *op;
	bool (*is_nop)(const pai_node *n);
} rows[] = {
	{"Identity", always},       {"Reshape", keeps_shape},
	{"Flatten", keeps_shape},   {"Expand", keeps_shape},
	{"Squeeze", keeps_shape},   {"Unsqueeze", keeps_shape},
	{"Tile", keeps_shape},      {"Transpose", is_identity_permutation},
	{"Cast", keeps_type},       {"CastLike", keeps_type},
	{"Dropout", drops_nothing}, {"Concat", is_single},
	{"Sum", is_single},         {"Max", is_single},
	{"Min", is_single},         {"Mean", is_single},
	{"Pad", pads_nothing},
};

static bool is_nop(const pai_node *n)
{
	if (*n->domain || n->n_in < 1 || !n->in[0] || n->n_out < 1 || !n->out[0])
		return false;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].op, n->op_type) == 0)
			return rows[i].is_nop(n);
	return false;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		if (!is_nop(n))
			continue;
		if (!pai_can_replace(n->out[0], n->in[0])) {
			r->counts[NAMED_OUTPUT] += r->round == 0;
			continue;
		}
		pai_patch_begin(out, n, n->op_type);
		pai_patch_replace(out, n->out[0], n->in[0]);
		pai_patch_erase(out, n);
		pai_patch_count(out, &r->counts[REMOVED], 1);
	}
	return PAI_OK;
}

const pai_pass pai_pass_eliminate_nop = {
	.name = "eliminate-nop",
	.summary =
		"remove Identity, and Reshape, Transpose, Cast, Dropout, Pad, ... that do nothing",
	.needs = PAI_SHAPES,
	.exactness = PAI_EXACT,
	.stats = (const char *const[]){[REMOVED] = "removed",
				       [NAMED_OUTPUT] = "kept: gives a graph output its name",
				       NULL},
	.run = run,
};
