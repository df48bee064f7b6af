/* burn_in.c -- constant folding restricted to transforms: the parameter takes the transformed
 * contents and the node goes. What is left is a model in standard operators whose outputs are those
 * of the model with transforms, bit for bit; names of parameters stay.
 *
 * A chain of transforms folds from the parameter on, one node a round; where the parameter is read
 * elsewhere too, what it becomes on the way is still selected by its name. Random transforms are
 * refused unless allow-stochastic asks for one draw of them. A transform on a tensor that is
 * computed cannot fold and stays, with its function.
 */
#include "passes/passes.h"
#include <string.h>

enum { FOLDED, NOT_SELECTED, COMPUTED, RANDOM };

static const pai_option options[] = {
	{.name = "select", .type = PAI_OPT_STRING, .def = "*", .help = "parameters to fold into"},
	{.name = "allow-stochastic",
	 .type = PAI_OPT_BOOL,
	 .def = "false",
	 .help = "fold one draw of a random transform into the weights"},
	{.name = NULL},
};

static bool is_draw(const pai_value *u)
{
	return u && u->producer && pai_node_is(u->producer, "RandomUniformLike");
}

/* The contents of an input of the transform: constant, or numbers drawn for a constant. */
static pai_status input(pai_pass_run *r, const pai_value *v, const pai_tensor **out)
{
	*out = v ? pai_value_constant(v) : NULL;
	if (*out || !is_draw(v))
		return PAI_OK;
	const pai_tensor *like = pai_value_constant(pai_node_in(v->producer, 0));
	pai_tensor *drawn = NULL;
	if (like)
		PAI_TRY(pai_eval_node(r->ctx, r->scratch, v->producer, &like, 0, &drawn));
	*out = drawn;
	return PAI_OK;
}

/* Every input is constant: in[] is filled. */
static pai_status inputs(pai_pass_run *r, const pai_node *n, const pai_tensor **in, bool *constant)
{
	*constant = true;
	for (int i = 0; i < n->n_in && *constant; i++) {
		PAI_TRY(input(r, n->in[i], &in[i]));
		*constant = in[i] || !n->in[i];
	}
	return PAI_OK;
}

typedef struct folded { /* stands for a parameter that is read elsewhere too */
	const pai_value *now;
	const char *parameter;
} folded;

typedef struct state {
	PAI_VEC(folded) at;
} state;

static const char *parameter_name(const state *s, const pai_value *v)
{
	for (int i = 0; i < s->at.n; i++)
		if (s->at.at[i].now == v)
			return s->at.at[i].parameter;
	return v->name;
}

/* The transform is all that reads the contents; draws look at the shape. */
static bool is_own(const pai_pass_run *r, const pai_value *v, const pai_node *n)
{
	if (v->is_input || v->is_output || v->graph != n->graph)
		return false;
	for (int i = 0; i < r->uses->n[v->id]; i++) {
		pai_use use = r->uses->of[v->id][i];
		if (use.node != n && (use.slot < 0 || !is_draw(use.node->out[0])))
			return false;
	}
	return true;
}

static pai_status fold(pai_pass_run *r, pai_patch *out, pai_node *n, const pai_tensor *const *in)
{
	pai_arena *a = n->graph->model->arena;
	pai_value *v = n->in[0], *u = pai_node_in(n, 1);
	state *s = r->state;
	pai_tensor *y;
	PAI_TRY(pai_eval_node(r->ctx, a, n, in, 0, &y));
	pai_patch_begin(out, n, "burn in");
	if (v->init && is_own(r, v, n)) {
		pai_patch_set_init(out, v, y);
		pai_patch_replace(out, n->out[0], v);
	} else { /* read elsewhere too, or the output of a Constant */
		const char *name = parameter_name(s, v);
		folded f = {pai_patch_init(out, name, y), name};
		PAI_PUSH(r->scratch, s->at, f);
		pai_patch_replace(out, n->out[0], (pai_value *)f.now);
	}
	pai_patch_erase(out, n);
	if (is_draw(u) && u->producer->graph == n->graph && pai_uses_count(r->uses, u) == 1)
		pai_patch_erase(out, u->producer);
	pai_patch_count(out, &r->counts[FOLDED], 1);
	pai_patch_count(out, &r->counts[RANDOM], (n->op->traits & PAI_TRAIT_RANDOM) != 0);
	return PAI_OK;
}

static pai_status begin(pai_pass_run *r, pai_model *m)
{
	(void)m;
	r->state = PAI_NEW(r->scratch, state);
	return PAI_OK;
}

static pai_status run(pai_pass_run *r, pai_patch *out, const pai_graph *g)
{
	const char *select = pai_item_string(r->item, options, "select");
	bool stochastic = pai_item_bool(r->item, options, "allow-stochastic");
	for (int i = 0; i < g->nodes.n; i++) {
		pai_node *n = g->nodes.at[i];
		if (!pai_transform_of(n) || !n->op || !(n->op->traits & PAI_TRAIT_FOLDS) ||
		    !pai_node_in(n, 0) || n->out[0]->is_output)
			continue;
		const pai_tensor **in = PAI_NEWS(r->scratch, const pai_tensor *, n->n_in);
		bool constant;
		if (!pai_value_constant(n->in[0])) { /* or its turn comes in a later round */
			r->counts[COMPUTED] +=
				r->round == 0 &&
				!(n->in[0]->producer && pai_transform_of(n->in[0]->producer));
			continue;
		}
		if (!pai_glob(select, parameter_name(r->state, n->in[0]))) {
			r->counts[NOT_SELECTED] += r->round == 0;
			continue;
		}
		if ((n->op->traits & PAI_TRAIT_RANDOM) && !stochastic)
			return pai_fail(r->ctx, PAI_E_transform_random, pai_at_node(n),
					"is random: folding it would fix one draw for good");
		PAI_TRY(inputs(r, n, in, &constant));
		if (!constant) {
			r->counts[COMPUTED] += r->round == 0;
			continue;
		}
		PAI_TRY(fold(r, out, n, in));
	}
	return PAI_OK;
}

static pai_status end(pai_pass_run *r, pai_model *m)
{
	if (r->counts[FOLDED])
		pai_transform_tidy(m);
	return PAI_OK;
}

const pai_pass pai_pass_burn_in = {
	.name = "burn-in",
	.summary = "fold transforms into the parameters they stand on",
	.needs = PAI_USES | PAI_SHAPES,
	.exactness = PAI_EXACT,
	.options = options,
	.stats = (const char *const[]){[FOLDED] = "folded",
				       [NOT_SELECTED] = "kept: not selected",
				       [COMPUTED] = "kept: its input is computed",
				       [RANDOM] = "of them random",
				       NULL},
	.begin = begin,
	.run = run,
	.end = end,
};
