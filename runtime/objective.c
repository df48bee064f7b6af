/* objective.c -- a model with labels and a loss: what is trained, and what is measured.
 *
 * It is a copy of the model, so it may be changed freely: opsets are raised to the newest (nodes
 * keep the rows they were read with), outputs other than the one looked at go, an input for the
 * labels comes, and the loss is emitted behind the output.
 */
#include "runtime/runtime.h"
#include <assert.h>
#include <string.h>

static pai_status find_output(pai_ctx *ctx, const pai_model *m, const char *name, pai_value **out)
{
	const pai_graph *g = m->graph;
	if (!name && g->outputs.n != 1)
		return pai_fail(ctx, PAI_E_no_output, pai_at_file(m->path),
				"the model has %d outputs; which one the loss is of is not said",
				g->outputs.n);
	for (int i = 0; i < g->outputs.n; i++)
		if (!name || strcmp(g->outputs.at[i]->name, name) == 0) {
			*out = g->outputs.at[i];
			return PAI_OK;
		}
	return pai_fail(ctx, PAI_E_no_output, pai_at_file(m->path),
			"the model has no output \"%s\"", name);
}

static void set_outputs(pai_model *m, int n, pai_value *const *v)
{
	pai_graph *g = m->graph;
	for (int i = 0; i < g->outputs.n; i++)
		g->outputs.at[i]->is_output = false;
	g->outputs.n = 0;
	for (int i = 0; i < n; i++) {
		v[i]->is_output = true;
		PAI_PUSH(m->arena, g->outputs, v[i]);
	}
}

/* Labels of an output [N, C, d...]: class indices [N, d...], or targets of its shape. */
static pai_status label_type(pai_ctx *ctx, const pai_objective *o, bool indices, pai_type *out)
{
	const pai_type *t = &o->output->type;
	*out = *t;
	out->kind = PAI_TYPE_TENSOR;
	if (!indices)
		return PAI_OK;
	out->dtype = PAI_INT64;
	if (t->rank < 0)
		return PAI_OK;
	if (t->rank < 2)
		return pai_fail(ctx, PAI_E_no_output, pai_at_value(o->output),
				"has rank %d, but axis 1 must count the classes", t->rank);
	out->rank = t->rank - 1;
	out->dims = PAI_NEWS(o->model->arena, pai_dim, out->rank);
	for (int i = 0; i < out->rank; i++)
		out->dims[i] = t->dims[i ? i + 1 : 0];
	return PAI_OK;
}

static pai_status add_label(pai_ctx *ctx, pai_objective *o, bool indices)
{
	pai_graph *g = o->model->graph;
	const char *name = "label";
	for (int i = 1; pai_graph_value(g, name); i++)
		name = pai_arena_printf(o->model->arena, "label_%d", i);
	pai_type type;
	PAI_TRY(label_type(ctx, o, indices, &type));
	o->label = pai_graph_add_value(g, name);
	o->label->type = type;
	o->label->is_input = true;
	PAI_PUSH(o->model->arena, g->inputs, o->label);
	return PAI_OK;
}

/* What the loss is taken of is float, whatever the model computes in. */
static pai_status take_output(pai_ctx *ctx, pai_model *m, pai_objective *o)
{
	o->output = m->graph->outputs.at[0];
	const pai_dtype dtype = o->output->type.dtype;
	if (dtype == PAI_FLOAT)
		return PAI_OK;
	if (pai_dtype_get(dtype)->kind != PAI_KIND_FLOAT)
		return pai_fail(ctx, PAI_E_no_output, pai_at_value(o->output),
				"is %s; a loss is taken of floats", pai_dtype_get(dtype)->text);
	pai_patch *p = pai_patch_new(m->graph);
	pai_patch_begin(p, NULL, "output as float");
	pai_value *y = PAI_OP1(p, "Cast", "output_as_float", o->output);
	pai_patch_set_int(p, y->producer, "to", PAI_FLOAT);
	pai_applied applied;
	PAI_TRY(pai_patch_apply(p, -1, &applied));
	set_outputs(m, 1, &y);
	o->output = y;
	return pai_infer(m);
}

static pai_status build(pai_ctx *ctx, const pai_session_options *s, bool training, pai_objective *o)
{
	pai_model *m = o->model;
	pai_model_import(m, "", PAI_ONNX_OPSET);
	pai_value *output = NULL;
	PAI_TRY(find_output(ctx, m, s->output, &output));
	assert(output);
	set_outputs(m, 1, &output);
	PAI_TRY(pai_inline_calls(m, 0, NULL)); /* forms may stand in functions */
	if (!training) {
		PAI_TRY(pai_inference_forms(m));
	} else {
		const pai_moving moving = {s->freeze, s->trainable};
		PAI_TRY(pai_training_forms(m, &moving, &o->statistics, &o->n_statistics));
	}
	PAI_TRY(pai_infer(m));
	PAI_TRY(take_output(ctx, m, o));
	o->probabilities = s->loss->integer_labels && s->float_labels;
	PAI_TRY(add_label(ctx, o, s->loss->integer_labels && !s->float_labels));
	const pai_item defaults = {.name = s->loss->name};
	const pai_item *settings = s->loss_settings ? s->loss_settings : &defaults;
	pai_patch *p = pai_patch_new(m->graph);
	pai_patch_begin(p, NULL, s->loss->name);
	PAI_TRY(s->loss->emit(ctx, p, settings, o->output, o->label, &o->loss));
	pai_applied applied;
	PAI_TRY(pai_patch_apply(p, -1, &applied));
	pai_value *outputs[] = {o->output, o->loss};
	set_outputs(m, training ? 1 : 2, training ? &outputs[1] : outputs);
	return pai_infer(m);
}

pai_status pai_objective_new(pai_ctx *ctx, const pai_model *m, const pai_session_options *o,
			     bool training, pai_objective *out)
{
	pai_objective made = {.model = pai_model_clone(m)};
	pai_status status = build(ctx, o, training, &made);
	if (status != PAI_OK) {
		pai_model_free(made.model);
		return status;
	}
	*out = made;
	return PAI_OK;
}
