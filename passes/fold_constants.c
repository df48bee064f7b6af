/* fold_constants.c -- replaces nodes by their values: where all inputs are constant, by executing
 * the node; where shape inference found the contents (Shape chains), by those.
 *
 * Left alone: random nodes, control flow, transforms (burn-in folds those), and Q/DQ pairs, which
 * carry the quantised form of the model. A value that is larger than what it is made from by more
 * than max_growth stays a node, so that a small file does not become a large one.
 */
#include "passes/passes.h"
#include <string.h>

enum { FOLDED, TOO_LARGE, NO_KERNEL, FAILS };

static const pai_option options[] = {
	{.name = "max_growth",
	 .type = PAI_OPT_INT,
	 .def = "65536",
	 .min = 0,
	 .max = 1e18,
	 .help = "bytes that a folded value may be larger than its inputs"},
	{.name = NULL},
};

static bool may_fold(const pai_node *n)
{
	if (!n->op || (n->op->traits & (PAI_TRAIT_RANDOM | PAI_TRAIT_CONTROL | PAI_TRAIT_FOLDS)))
		return false;
	return !pai_node_is(n, "Constant") && !pai_node_is(n, "QuantizeLinear") &&
	       !pai_node_is(n, "DequantizeLinear");
}

/* Bytes of the inputs, or false when one is not constant. */
static bool constant_inputs(pai_arena *a, const pai_node *n, const pai_tensor ***in,
			    uint64_t *bytes)
{
	*in = PAI_NEWS(a, const pai_tensor *, n->n_in);
	*bytes = 0;
	for (int i = 0; i < n->n_in; i++) {
		if (!n->in[i])
			continue;
		(*in)[i] = pai_value_constant(n->in[i]);
		if (!(*in)[i])
			return false;
		*bytes += (*in)[i]->nbytes;
	}
	return true;
}

static bool can_replace_all(const pai_node *n)
{
	for (int i = 0; i < n->n_out; i++)
		if (n->out[i] && n->out[i]->is_output)
			return false; /* an initialiser cannot be a graph output of the same name */
	return true;
}

static void propose(pai_pass_run *r, pai_patch *out, pai_node *n, pai_tensor *const *values)
{
	pai_patch_begin(out, n, n->op_type);
	for (int i = 0; i < n->n_out; i++) {
		if (!n->out[i])
			continue;
		pai_value *v = pai_patch_init(out, n->out[i]->name, values[i]);
		pai_patch_replace(out, n->out[i], v);
	}
	pai_patch_erase(out, n);
	r->counts[FOLDED]++;
}

/* A single output whose contents inference knows. */
static bool fold_known(pai_pass_run *r, pai_patch *out, pai_node *n)
{
	const pai_tensor *known = n->n_out == 1 && n->out[0] ? n->out[0]->known : NULL;
	if (!known)
		return false;
	pai_arena *a = n->graph->model->arena;
	pai_tensor *copy = pai_tensor_new(a, known->dtype, known->rank, known->dims);
	if (!copy)
		return false;
	pai_copy(copy->data, known->data, known->nbytes);
	propose(r, out, n, &copy);
	return true;
}

static pai_status fold(pai_pass_run *r, pai_patch *out, pai_node *n, const pai_tensor *const *in,
		       uint64_t in_bytes)
{
	const uint64_t growth = (uint64_t)pai_item_int(r->item, options, "max_growth");
	const uint64_t most = in_bytes + growth < r->ctx->limits.folded_bytes
				      ? in_bytes + growth
				      : r->ctx->limits.folded_bytes;
	if (!pai_op_kernel(n->op)) {
		r->counts[NO_KERNEL] += r->round == 0;
		return PAI_OK;
	}
	pai_tensor **values = PAI_NEWS(r->scratch, pai_tensor *, n->n_out);
	void (*listener)(void *, const pai_diag *) = r->ctx->on_diag;
	r->ctx->on_diag = NULL; /* no error here: the node stays, and may never be executed */
	pai_status status = pai_eval_node(r->ctx, n->graph->model->arena, n, in, most, values);
	r->ctx->on_diag = listener;
	if (status != PAI_OK) {
		bool large = status == PAI_LIMIT || status == PAI_NOMEM;
		r->counts[large ? TOO_LARGE : FAILS] += r->round == 0;
		return status == PAI_INTERNAL ? status : PAI_OK;
	}
	propose(r, out, n, values);
	return PAI_OK;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		const pai_tensor **in;
		uint64_t bytes;
		if (!may_fold(n) || !can_replace_all(n) || fold_known(r, out, n))
			continue;
		if (constant_inputs(r->scratch, n, &in, &bytes))
			PAI_TRY(fold(r, out, n, in, bytes));
	}
	return PAI_OK;
}

const pai_pass pai_pass_fold_constants = {
	.name = "fold-constants",
	.summary = "replace nodes with constant inputs, and shape arithmetic, by their values",
	.needs = PAI_SHAPES,
	.exactness = PAI_EXACT,
	.options = options,
	.stats = (const char *const[]){[FOLDED] = "folded",
				       [TOO_LARGE] = "kept: the value is too large",
				       [NO_KERNEL] = "kept: no kernel",
				       NULL},
	.run = run,
};
