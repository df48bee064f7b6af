/* cross_entropy.c -- cross-entropy of logits, class axis 1. With lp = log_softmax(logits), C
 * classes, w = class_weights (ones when not given) and e = label_smoothing:
 *
 *     class indices t:   v_i = -(1-e) w[t] lp[t] - (e/C) sum_c w[c] lp[c], 0 where t is
 * ignore_index probabilities t:   v_i = -sum_c ((1-e) t[c] + e/C) w[c] lp[c]
 *
 * The mean divides by the sum of w[t] over the v_i that count; with probabilities by their number.
 */
#include "runtime/runtime.h"
#include <string.h>

static const pai_option options[] = {
	{.name = "reduction",
	 .type = PAI_OPT_STRING,
	 .def = "mean",
	 .choices = "mean|sum",
	 .help = "over all predictions"},
	{.name = "label_smoothing",
	 .type = PAI_OPT_FLOAT,
	 .def = "0",
	 .max = 1,
	 .help = "share of the target that is spread over all classes"},
	{.name = "ignore_index",
	 .type = PAI_OPT_INT,
	 .min = -1e9,
	 .max = 1e9,
	 .help = "label of what does not count; a batch of nothing else moves nothing"},
	{.name = "class_weights",
	 .type = PAI_OPT_FLOATS,
	 .max = 1e9,
	 .help = "what each class counts, a number a class: \"1,1,2.5\""},
	{0},
};

typedef struct emitter {
	pai_arena *arena;
	pai_patch *p;
	bool mean, ignores;
	int64_t ignore_index;
	float smoothing;
	pai_value *output, *target;
	pai_value *weights, *weights_along; /* [C], and shaped to lie along axis 1; NULL: ones */
} emitter;

static pai_value *constant(emitter *e, float v)
{
	return pai_patch_init(e->p, "c", pai_tensor_from_float(e->arena, v));
}

/* Over the class axis, which goes away. */
static pai_value *reduce_classes(emitter *e, const char *op, pai_value *x)
{
	pai_value *axis =
		pai_patch_init(e->p, "axis", pai_tensor_from_ints(e->arena, 1, (int64_t[]){1}));
	pai_value *y = PAI_OP2(e->p, op, "over_classes", x, axis);
	pai_patch_set_int(e->p, y->producer, "keepdims", 0);
	return y;
}

static pai_value *reduce_all(emitter *e, bool mean, pai_value *x)
{
	pai_value *y = PAI_OP1(e->p, mean ? "ReduceMean" : "ReduceSum", "over_all", x);
	pai_patch_set_int(e->p, y->producer, "keepdims", 0);
	return y;
}

/* w[c] lp[c] */
static pai_value *weighted_log_softmax(emitter *e)
{
	pai_value *lp = PAI_OP1(e->p, "LogSoftmax", "log_softmax", e->output);
	pai_patch_set_int(e->p, lp->producer, "axis", 1);
	return e->weights ? PAI_OP2(e->p, "Mul", "weighted", lp, e->weights_along) : lp;
}

static pai_value *index_loss(emitter *e)
{
	pai_value *in[] = {e->output, e->target, e->weights};
	pai_node *n = pai_patch_node(e->p, "", "SoftmaxCrossEntropyLoss", "loss",
				     e->weights ? 3 : 2, in, 1);
	pai_patch_set_string(e->p, n, "reduction", e->mean ? "mean" : "sum");
	if (e->ignores)
		pai_patch_set_int(e->p, n, "ignore_index", e->ignore_index);
	return n->out[0];
}

/* Where the label is ignore_index; *label becomes a class in any case. */
static pai_value *ignored(emitter *e, pai_value **label)
{
	pai_tensor *index = pai_tensor_from_ints(e->arena, 1, &e->ignore_index);
	pai_value *skip = PAI_OP2(e->p, "Equal", "ignored", *label,
				  pai_patch_init(e->p, "ignore_index", index));
	pai_tensor *none = pai_tensor_from_ints(e->arena, 1, (int64_t[]){0});
	*label = PAI_OP3(e->p, "Where", "class", skip, pai_patch_init(e->p, "zero", none), *label);
	return skip;
}

/* v, 0 where it is skipped: chosen, not multiplied, as v may be infinite there. */
static pai_value *counted(emitter *e, pai_value *skip, pai_value *v)
{
	return skip ? PAI_OP3(e->p, "Where", "counted", skip, constant(e, 0), v) : v;
}

/* Mean or sum over what counts of -mean_c w[c] lp[c]. */
static pai_value *uniform_loss(emitter *e)
{
	pai_value *v = PAI_OP1(e->p, "Neg", "uniform",
			       reduce_classes(e, "ReduceMean", weighted_log_softmax(e)));
	if (!e->ignores && !e->weights)
		return reduce_all(e, e->mean, v);
	pai_value *label = PAI_OP1(e->p, "Cast", "label", e->target);
	pai_patch_set_int(e->p, label->producer, "to", PAI_INT64);
	pai_value *skip = e->ignores ? ignored(e, &label) : NULL;
	pai_value *sum = reduce_all(e, false, counted(e, skip, v));
	if (!e->mean)
		return sum;
	pai_value *share =
		e->weights ? PAI_OP2(e->p, "Gather", "weight", e->weights, label) : constant(e, 1);
	return PAI_OP2(e->p, "Div", "mean", sum, reduce_all(e, false, counted(e, skip, share)));
}

static pai_value *probability_loss(emitter *e)
{
	pai_value *lp = weighted_log_softmax(e);
	pai_value *v = reduce_classes(e, "ReduceSum", PAI_OP2(e->p, "Mul", "qlp", e->target, lp));
	if (e->smoothing > 0) {
		pai_value *spread = reduce_classes(e, "ReduceMean", lp);
		v = PAI_OP2(e->p, "Add", "smooth",
			    PAI_OP2(e->p, "Mul", "own", v, constant(e, 1 - e->smoothing)),
			    PAI_OP2(e->p, "Mul", "spread", spread, constant(e, e->smoothing)));
	}
	return reduce_all(e, e->mean, PAI_OP1(e->p, "Neg", "loss", v));
}

/* Takes class_weights, one a class of the output. */
static pai_status take_weights(pai_ctx *ctx, emitter *e, const pai_item *settings)
{
	int64_t n = 0;
	const double *w = pai_item_floats(settings, options, "class_weights", e->arena, &n);
	const pai_type *type = &e->output->type;
	if (!w)
		return PAI_OK;
	if (type->rank < 2 || type->dims[1] != n)
		return pai_fail(ctx, PAI_E_bad_value, pai_at_value(e->output),
				"class_weights has %lld numbers, the output is %s with classes on "
				"axis 1",
				(long long)n, pai_type_text(ctx, e->arena, type));
	int64_t *along = PAI_NEWS(e->arena, int64_t, type->rank - 1);
	along[0] = n;
	for (int d = 1; d < type->rank - 1; d++)
		along[d] = 1;
	for (int k = 0; k < 2; k++) {
		pai_tensor *t = pai_tensor_new(e->arena, PAI_FLOAT, k ? type->rank - 1 : 1, along);
		if (!t)
			return pai_fail(ctx, PAI_E_memory, pai_at_value(e->output),
					"%lld class weights", (long long)n);
		for (int64_t c = 0; c < n; c++)
			pai_tensor_set(t, c, w[c]);
		*(k ? &e->weights_along : &e->weights) = pai_patch_init(e->p, "class_weights", t);
	}
	return PAI_OK;
}

static pai_status emit(pai_ctx *ctx, pai_patch *p, const pai_item *settings, pai_value *output,
		       pai_value *target, pai_value **loss)
{
	emitter e = {
		.arena = output->graph->model->arena,
		.p = p,
		.mean = strcmp(pai_item_string(settings, options, "reduction"), "mean") == 0,
		.smoothing = (float)pai_item_float(settings, options, "label_smoothing"),
		.output = output,
		.target = target,
	};
	e.ignores = pai_item_string(settings, options, "ignore_index") != NULL;
	e.ignore_index = e.ignores ? pai_item_int(settings, options, "ignore_index") : 0;
	PAI_TRY(take_weights(ctx, &e, settings));
	if (pai_dtype_get(target->type.dtype)->kind == PAI_KIND_FLOAT) {
		*loss = probability_loss(&e);
		return PAI_OK;
	}
	*loss = index_loss(&e);
	if (e.smoothing > 0) {
		pai_value *own = PAI_OP2(p, "Mul", "own", *loss, constant(&e, 1 - e.smoothing));
		pai_value *spread =
			PAI_OP2(p, "Mul", "spread", uniform_loss(&e), constant(&e, e.smoothing));
		*loss = PAI_OP2(p, "Add", "loss", own, spread);
	}
	return PAI_OK;
}

static pai_label_weights weigh(pai_arena *a, const pai_item *settings)
{
	pai_label_weights w = {
		.mean = strcmp(pai_item_string(settings, options, "reduction"), "mean") == 0,
		.ignores = pai_item_string(settings, options, "ignore_index") != NULL,
	};
	w.ignored = w.ignores ? pai_item_int(settings, options, "ignore_index") : 0;
	w.classes = pai_item_floats(settings, options, "class_weights", a, &w.n);
	return w;
}

const pai_loss pai_loss_cross_entropy = {
	.name = "cross-entropy",
	.summary =
		"cross-entropy of logits, classes on axis 1; labels are indices or probabilities",
	.options = options,
	.integer_labels = true,
	.emit = emit,
	.weigh = weigh,
};
