/* forms.c -- from how a model infers to how it trains.
 *
 * Files hold models in inference form. Training needs BatchNormalization with the statistics of the
 * batch, whose running statistics then move, and Dropout that drops. Both are said by ONNX's own
 * training modes; nodes of older versions are replaced by the newest one.
 */
#include "runtime/runtime.h"

bool pai_moves(const pai_moving *w, const char *initializer)
{
	if (w->freeze && pai_glob(w->freeze, initializer))
		return false;
	return !w->trainable || pai_glob(w->trainable, initializer);
}

typedef struct forms {
	pai_model *model;
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

static void train_batch_normalization(forms *f, pai_node *n)
{
	bool inferring = n->n_out == 1 && pai_node_int(n, "training_mode", 0) == 0 &&
			 pai_node_int(n, "spatial", 1) == 1;
	if (n->n_in != 5 || !inferring || !statistics_move(f, n))
		return;
	pai_patch *p = f->patch;
	pai_patch_begin(p, n, "BatchNormalization in training mode");
	pai_node *now = pai_patch_node(p, "", "BatchNormalization", pai_node_label(n), 5, n->in, 3);
	pai_patch_set_float(p, now, "epsilon", pai_node_float(n, "epsilon", 1e-5f));
	pai_patch_set_float(p, now, "momentum", pai_node_float(n, "momentum", 0.9f));
	pai_patch_set_int(p, now, "training_mode", 1);
	pai_patch_replace(p, n->out[0], now->out[0]);
	pai_patch_erase(p, n);
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

pai_status pai_training_forms(pai_model *m, const pai_moving *w, pai_statistic **out, int *n_out)
{
	forms f = {.model = m, .patch = pai_patch_new(m->graph), .moving = w};
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
