/* forms.c -- from how a model infers to how it trains, and back.
 *
 * Files mostly hold models in inference form. Training needs BatchNormalization with the statistics
 * of the batch, whose running statistics then move, and Dropout that drops. Both are said by ONNX's
 * own training modes; nodes of older versions are replaced by the newest one. A file that an
 * exporter wrote in training form is brought into inference form where it is to be measured.
 */
#include "runtime/runtime.h"

bool pai_moves(const pai_moving *w, const char *initializer)
{
	if (w->freeze && pai_glob(w->freeze, initializer))
		return false;
	return !w->trainable || pai_glob(w->trainable, initializer);
}

bool pai_normalization_trains(const pai_node *n)
{
	if (pai_op_attr_find(n->op, "training_mode"))
		return pai_node_int(n, "training_mode", 0) != 0;
	if (pai_op_attr_find(n->op, "is_test"))
		return !pai_node_int(n, "is_test", 0);
	bool more = false;
	for (int o = 1; o < n->n_out; o++)
		more = more || n->out[o];
	return more;
}

typedef struct forms {
	pai_model *model;
	const pai_uses *uses;
	pai_patch *patch;
	const pai_moving *moving;
	PAI_VEC(pai_statistic) statistics;
} forms;

/* Statistics move unless frozen; where only some tensors are to be trained, with their scale. */
static bool statistics_move(const forms *f, const pai_node *n)
{
	const pai_value *scale = pai_node_in(n, 1), *mean = pai_node_in(n, 3),
			*var = pai_node_in(n, 4);
	if (!mean || !mean->init || !var || !var->init)
		return false;
	const pai_moving frozen = {f->moving->freeze, NULL};
	if (!pai_moves(&frozen, mean->name) || !pai_moves(&frozen, var->name))
		return false;
	return pai_moves(f->moving, mean->name) || (scale && pai_moves(f->moving, scale->name));
}

/* Some output from `from` on is read. */
static bool is_read(const forms *f, const pai_node *n, int from)
{
	for (int i = from; i < n->n_out; i++)
		if (n->out[i] && (n->out[i]->is_output || pai_uses_count(f->uses, n->out[i])))
			return true;
	return false;
}

static pai_node *normalization(forms *f, pai_node *n, const char *what, int n_out)
{
	pai_patch *p = f->patch;
	pai_patch_begin(p, n, what);
	pai_node *now =
		pai_patch_node(p, "", "BatchNormalization", pai_node_label(n), 5, n->in, n_out);
	pai_patch_set_float(p, now, "epsilon", pai_node_float(n, "epsilon", 1e-5f));
	pai_patch_set_float(p, now, "momentum", pai_node_float(n, "momentum", 0.9f));
	for (int i = 0; i < n_out && i < n->n_out; i++)
		if (n->out[i])
			pai_patch_replace(p, n->out[i], now->out[i]);
	pai_patch_erase(p, n);
	return now;
}

static void infer_batch_normalization(forms *f, pai_node *n)
{
	if (n->n_in == 5 && pai_node_int(n, "spatial", 1) == 1 && pai_normalization_trains(n) &&
	    !is_read(f, n, 1))
		normalization(f, n, "BatchNormalization in inference mode", 1);
}

/* Before opset 14 there were outputs 3 and 4, which are not what later versions compute. */
static void train_batch_normalization(forms *f, pai_node *n)
{
	if (n->n_in != 5 || pai_node_int(n, "spatial", 1) != 1 || is_read(f, n, 3))
		return;
	if (!statistics_move(f, n)) {
		infer_batch_normalization(f, n);
		return;
	}
	pai_node *now = normalization(f, n, "BatchNormalization in training mode", 3);
	pai_patch_set_int(f->patch, now, "training_mode", 1);
	for (int i = 0; i < 2; i++)
		PAI_PUSH(f->model->arena, f->statistics,
			 ((pai_statistic){n->in[3 + i], now->out[1 + i]}));
}

static pai_status train_dropout(forms *f, pai_node *n)
{
	pai_patch *p = f->patch;
	pai_arena *a = f->model->arena;
	pai_value *ratio = pai_node_in(n, 1);
	pai_tensor *on = pai_tensor_new(a, PAI_BOOL, 0, NULL);
	if (!on)
		return pai_fail(f->model->ctx, PAI_E_memory, pai_at_node(n), "to train it");
	*(uint8_t *)on->data = 1;
	pai_patch_begin(p, n, "Dropout in training mode");
	if (!ratio)
		ratio = pai_patch_init(p, "ratio",
				       pai_tensor_from_float(a, pai_node_float(n, "ratio", 0.5f)));
	pai_value *in[] = {n->in[0], ratio, pai_patch_init(p, "training_mode", on)};
	pai_node *now = pai_patch_node(p, "", "Dropout", pai_node_label(n), 3, in, n->n_out);
	for (int k = 0; k < n->n_out; k++)
		if (n->out[k])
			pai_patch_replace(p, n->out[k], now->out[k]);
	pai_patch_erase(p, n);
	return PAI_OK;
}

static void infer_dropout(forms *f, pai_node *n)
{
	if (n->n_in < 3 || !n->in[2] || is_read(f, n, 1) || !pai_can_replace(n->out[0], n->in[0]))
		return;
	pai_patch_begin(f->patch, n, "Dropout in inference mode");
	pai_patch_replace(f->patch, n->out[0], n->in[0]);
	pai_patch_erase(f->patch, n);
}

pai_status pai_inference_forms(pai_model *m)
{
	forms f = {.model = m,
		   .patch = pai_patch_new(m->graph),
		   .uses = pai_uses_new(m->arena, m->graph)};
	for (int i = 0; i < m->graph->nodes.n; i++) {
		pai_node *n = m->graph->nodes.at[i];
		if (pai_node_is(n, "BatchNormalization"))
			infer_batch_normalization(&f, n);
		else if (pai_node_is(n, "Dropout"))
			infer_dropout(&f, n);
	}
	pai_applied applied;
	return pai_patch_apply(f.patch, -1, &applied);
}

/* The initialiser of g that v is, or is handed on from by Identity; NULL: none. */
static pai_value *initializer_of(const pai_graph *g, pai_value *v)
{
	while (v && v->producer && pai_node_is(v->producer, "Identity"))
		v = v->producer->in[0];
	return v && v->init && v->graph == g ? v : NULL;
}

/* Is v read where running statistics do not stand? */
static bool read_elsewhere(const pai_uses *uses, const pai_value *v)
{
	for (int i = 0; i < uses->n[v->id]; i++) {
		const pai_use *u = &uses->of[v->id][i];
		if (!pai_node_is(u->node, "BatchNormalization") || u->slot < 3)
			return true;
	}
	return false;
}

static void separate(pai_patch *p, const pai_uses *uses, pai_node *n)
{
	enum { SCALE = 1, MEAN = 3, END = 5 };
	pai_value *from[END] = {NULL};
	bool merged = false;
	for (int k = SCALE; k < n->n_in && k < END; k++)
		from[k] = initializer_of(n->graph, n->in[k]);
	for (int k = MEAN; k < END; k++)
		merged |= from[k] && read_elsewhere(uses, from[k]);
	for (int k = SCALE; merged && k < END; k++) {
		if (!from[k] || (from[k] == n->in[k] && pai_uses_count(uses, from[k]) < 2))
			continue;
		pai_tensor *own = pai_arena_dup(n->graph->model->arena, from[k]->init, sizeof *own);
		own->origin = NULL;
		pai_patch_begin(p, n, "parameters that started equal");
		pai_patch_rewire(p, n, k, pai_patch_init(p, n->in[k]->name, own));
	}
}

pai_status pai_separate_statistics(pai_model *m)
{
	const pai_uses *uses = pai_uses_new(m->arena, m->graph);
	pai_patch *p = pai_patch_new(m->graph);
	for (int i = 0; i < m->graph->nodes.n; i++)
		if (pai_node_is(m->graph->nodes.at[i], "BatchNormalization"))
			separate(p, uses, m->graph->nodes.at[i]);
	pai_applied applied;
	return pai_patch_apply(p, -1, &applied);
}

/* Contents of a Constant that may be a parameter; NULL: it is none. */
static pai_tensor *parameter_of(const pai_node *n)
{
	const pai_attr *a = pai_node_is(n, "Constant") ? pai_node_attr(n, "value") : NULL;
	pai_tensor *t = a && a->type == PAI_ATTR_TENSOR && !a->ref ? a->t : NULL;
	return t && t->dtype == PAI_FLOAT && t->rank > 0 && !n->out[0]->is_output ? t : NULL;
}

static bool has_parameters(const pai_graph *g)
{
	for (int i = 0; i < g->inits.n; i++)
		if (g->inits.at[i]->init->dtype == PAI_FLOAT && g->inits.at[i]->init->rank > 0)
			return true;
	return false;
}

pai_status pai_lift_constants(pai_model *m, const char *trainable)
{
	pai_patch *p = pai_patch_new(m->graph);
	const bool all = !has_parameters(m->graph);
	for (int i = 0; i < m->graph->nodes.n; i++) {
		pai_node *n = m->graph->nodes.at[i];
		pai_tensor *t = parameter_of(n);
		if (!t || (!all && (!trainable || !pai_glob(trainable, n->out[0]->name))))
			continue;
		pai_patch_begin(p, n, "a Constant that is a parameter");
		pai_patch_replace(p, n->out[0], pai_patch_init(p, n->out[0]->name, t));
		pai_patch_erase(p, n);
	}
	pai_applied applied;
	return pai_patch_apply(p, -1, &applied);
}

pai_status pai_training_forms(pai_model *m, const pai_moving *w, pai_statistic **out, int *n_out)
{
	forms f = {.model = m,
		   .patch = pai_patch_new(m->graph),
		   .uses = pai_uses_new(m->arena, m->graph),
		   .moving = w};
	for (int i = 0; i < m->graph->nodes.n; i++) {
		pai_node *n = m->graph->nodes.at[i];
		if (pai_node_is(n, "BatchNormalization"))
			train_batch_normalization(&f, n);
		else if (pai_node_is(n, "Dropout"))
			PAI_TRY(train_dropout(&f, n));
	}
	pai_applied applied;
	PAI_TRY(pai_patch_apply(f.patch, -1, &applied));
	*out = f.statistics.at;
	*n_out = f.statistics.n;
	return PAI_OK;
}
