/* fold_constants.c -- replaces nodes by their values: where all inputs are constant, by executing
 * the node; where shape inference found the contents (Shape chains), by those. The target of a
 * Reshape that is computed from sizes becomes a constant with 0 for sizes that are copied, or -1
 * for the one that is not known before.
 *
 * A Constant becomes an initialiser, but for arrays of floats: those would be parameters then, and
 * training would move them.
 *
 * Left alone: random nodes, control flow, transforms (burn-in folds those), and Q/DQ pairs, which
 * carry the quantised form of the model. A value that is larger than what it is made from by more
 * than max_growth stays a node, and so do all that follow once the sum of all values passes its
 * limit, so that a small file does not become a large one.
 */
#include "passes/passes.h"
#include <string.h>

enum { FOLDED, RESHAPES, TOO_LARGE, SUM_TOO_LARGE, NO_KERNEL, FAILS };

typedef struct state {
	uint64_t left; /* bytes that may still be made */
} state;

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

/* Also of a Constant that states numbers instead of a tensor. */
static const pai_tensor *contents_of(pai_pass_run *r, const pai_value *v)
{
	const pai_tensor *t = pai_value_constant(v);
	pai_node *n = v->producer;
	pai_tensor *made = NULL;
	if (t || !n || !pai_node_is(n, "Constant") || n->n_attrs != 1 || n->attrs[0].ref ||
	    strncmp(n->attrs[0].name, "value_", strlen("value_")) != 0)
		return t;
	return pai_eval_node(r->ctx, n->graph->model->arena, n, NULL, 0, &made) == PAI_OK ? made
											  : NULL;
}

/* Bytes of the inputs, or false when one is not constant. */
static bool constant_inputs(pai_pass_run *r, const pai_node *n, const pai_tensor ***in,
			    uint64_t *bytes)
{
	*in = PAI_NEWS(r->scratch, const pai_tensor *, n->n_in);
	*bytes = 0;
	for (int i = 0; i < n->n_in; i++) {
		if (!n->in[i])
			continue;
		(*in)[i] = contents_of(r, n->in[i]);
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
	pai_patch_count(out, &r->counts[FOLDED], 1);
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
	state *s = r->state;
	const uint64_t growth = (uint64_t)pai_item_int(r->item, options, "max_growth");
	const uint64_t most = in_bytes + growth < r->ctx->limits.folded_bytes
				      ? in_bytes + growth
				      : r->ctx->limits.folded_bytes;
	if (!s->left) {
		r->counts[SUM_TOO_LARGE] += r->round == 0;
		return PAI_OK;
	}
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
	uint64_t made = 0;
	for (int i = 0; i < n->n_out; i++)
		made += values[i] ? values[i]->nbytes : 0;
	if (made > s->left) {
		s->left = 0; /* no further one is computed in vain */
		r->counts[SUM_TOO_LARGE]++;
		return PAI_OK;
	}
	s->left -= made;
	propose(r, out, n, values);
	return PAI_OK;
}

/* The contents of a Constant that may be an initialiser, shared; NULL: it stays a node. */
static pai_tensor *constant_contents(pai_pass_run *r, const pai_node *n)
{
	const pai_value *v = n->n_out == 1 ? n->out[0] : NULL;
	if (!v || n->graph->model->ir_version < 4) /* initialisers would be inputs */
		return NULL;
	const pai_tensor *t = contents_of(r, v);
	if (!t || (t->rank > 0 && pai_dtype_get((int)t->dtype)->kind == PAI_KIND_FLOAT))
		return NULL;
	return pai_arena_dup(n->graph->model->arena, t, sizeof *t);
}

/* One element of the target of a Reshape: a number, 0 (copied from the input) or -1 (what is left).
 * *open counts the latter, *copied the former. */
static int64_t target_size(pai_pass_run *r, const pai_type *from, int i, pai_dim d, int *copied,
			   int *open)
{
	int64_t size;
	if (pai_dim_const(r->ctx, d, &size)) {
		*copied += size == 0;
		*open += size == -1;
		return size;
	}
	if (i < from->rank && pai_dim_equal(from->dims[i], d)) {
		++*copied;
		return 0;
	}
	++*open;
	return -1;
}

static bool is_known_shape(const pai_value *v)
{
	if (v->type.kind != PAI_TYPE_TENSOR || v->type.rank < 0)
		return false;
	for (int i = 0; i < v->type.rank; i++)
		if (v->type.dims[i] == PAI_DIM_UNKNOWN)
			return false;
	return true;
}

/* Sizes that are 0 when it runs make -1 beside a copied size ambiguous, so the two are not made
 * together. */
static void fold_target(pai_pass_run *r, pai_patch *out, pai_node *n)
{
	pai_value *x = pai_node_in(n, 0), *shape = pai_node_in(n, 1);
	if (!pai_node_is(n, "Reshape") || !x || !shape || pai_value_constant(shape) ||
	    !shape->known_dims || shape->n_known < 1 || !is_known_shape(x) ||
	    !is_known_shape(n->out[0]) || pai_node_int(n, "allowzero", 0))
		return;
	int copied = 0, open = 0;
	int64_t *target = PAI_NEWS(r->scratch, int64_t, shape->n_known);
	for (int i = 0; i < shape->n_known; i++) {
		if (shape->known_dims[i] == PAI_DIM_UNKNOWN)
			return;
		target[i] = target_size(r, &x->type, i, shape->known_dims[i], &copied, &open);
	}
	if (open > 1 || (open && copied))
		return;
	pai_tensor *t = pai_tensor_from_ints(n->graph->model->arena, shape->n_known, target);
	pai_patch_begin(out, n, "target of Reshape");
	pai_patch_rewire(out, n, 1, pai_patch_init(out, shape->name, t));
	pai_patch_count(out, &r->counts[RESHAPES], 1);
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		const pai_tensor **in;
		uint64_t bytes;
		if (pai_node_is(n, "Constant") && can_replace_all(n)) {
			pai_tensor *contents = constant_contents(r, n);
			if (contents)
				propose(r, out, n, &contents);
			continue;
		}
		fold_target(r, out, n);
		if (!may_fold(n) || !can_replace_all(n) || fold_known(r, out, n))
			continue;
		if (constant_inputs(r, n, &in, &bytes))
			PAI_TRY(fold(r, out, n, in, bytes));
	}
	return PAI_OK;
}

enum { PER_BYTE = 8 }; /* of what was read */

static pai_status begin(pai_pass_run *r, pai_model *m)
{
	state *s = PAI_NEW(r->scratch, state);
	s->left = m->ctx->limits.folded_sum + PER_BYTE * m->ctx->bytes_read;
	r->state = s;
	return PAI_OK;
}

const pai_pass pai_pass_fold_constants = {
	.name = "fold-constants",
	.summary = "replace nodes with constant inputs, and shape arithmetic, by their values",
	.needs = PAI_SHAPES,
	.exactness = PAI_EXACT,
	.options = options,
	.stats = (const char *const[]){[FOLDED] = "folded",
				       [RESHAPES] = "targets of Reshape made constant",
				       [TOO_LARGE] = "kept: the value is too large",
				       [SUM_TOO_LARGE] = "kept: all values are too large together",
				       [NO_KERNEL] = "kept: no kernel",
				       [FAILS] = "kept: executing it fails",
				       NULL},
	.begin = begin,
	.run = run,
};
