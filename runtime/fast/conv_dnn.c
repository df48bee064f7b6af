/* conv_dnn.c -- convolutions by oneDNN. Weights are brought into the format the primitive likes,
 * when the plan is built where they are constant; their gradient is brought back from it.
 */
#include "runtime/fast/conv.h"

static pai_slot *scratch_for(pai_plan *p, pai_dnn_op *op)
{
	size_t n = pai_dnn_bytes(op, PAI_DNN_SCRATCH);
	pai_slot *s = n ? pai_slot_temp(p, n) : NULL;
	if (s)
		pai_dnn_bind(op, PAI_DNN_SCRATCH, &s->tensor);
	return s;
}

static void emit_reorder(pai_plan *p, pai_dnn_op *reorder, pai_slot *from, pai_slot *to)
{
	pai_slot *out[] = {to, scratch_for(p, reorder)};
	pai_dnn_bind(reorder, PAI_DNN_SRC, &from->tensor);
	pai_dnn_bind(reorder, PAI_DNN_DST, &to->tensor);
	pai_step_info info = {.name = "reorder weights",
			      .impl = pai_dnn_impl(reorder),
			      .bytes = 2.0 * (double)to->tensor.nbytes};
	pai_plan_emit(p, (pai_step){pai_dnn_run, reorder}, info, 1, &from, 2, out);
}

/* Runs the reorder while the plan is built. */
static pai_status reorder_now(pai_plan *p, pai_dnn_op *reorder, const pai_slot *from, size_t nbytes,
			      pai_slot **out)
{
	size_t room = pai_dnn_bytes(reorder, PAI_DNN_SCRATCH);
	pai_slot *scratch = room ? pai_slot_temp(p, room) : NULL;
	PAI_TRY(pai_slot_fixed(p, nbytes, out));
	pai_dnn_bind(reorder, PAI_DNN_SRC, &from->tensor);
	pai_dnn_bind(reorder, PAI_DNN_DST, &(*out)->tensor);
	if (scratch) {
		scratch->tensor.data = pai_run_scratch(&p->run, room);
		if (!scratch->tensor.data)
			return pai_fail(p->ctx, PAI_E_memory, pai_at_nothing(),
					"no memory for weights");
		pai_dnn_bind(reorder, PAI_DNN_SCRATCH, &scratch->tensor);
	}
	return pai_dnn_run(reorder, &p->run);
}

/* The weights in the format of the primitive. */
static pai_status weights_for(pai_plan *p, pai_dnn_op *op, pai_slot *w, pai_slot **out)
{
	pai_dnn_op *reorder;
	PAI_TRY(pai_dnn_weights_new(p, op, false, &reorder));
	*out = w;
	if (!reorder)
		return PAI_OK;
	size_t nbytes = pai_dnn_bytes(op, PAI_DNN_WEIGHTS);
	if (w->place == PAI_IN_CONST)
		return reorder_now(p, reorder, w, nbytes, out);
	*out = pai_slot_temp(p, nbytes);
	emit_reorder(p, reorder, w, *out);
	return PAI_OK;
}

static void emit(pai_plan *p, const pai_conv_task *t, pai_dnn_op *op)
{
	pai_slot *of[] = {t->image, t->weights, t->bias, t->grid}, *in[4], *out[5];
	int n_in, n_out;
	for (int a = PAI_DNN_SRC; a <= PAI_DNN_DST; a++)
		if (of[a])
			pai_dnn_bind(op, (pai_dnn_arg)a, &of[a]->tensor);
	pai_conv_operands(t, in, &n_in, out, &n_out);
	out[n_out++] = scratch_for(p, op);
	pai_plan_emit(p, (pai_step){pai_dnn_run, op}, pai_conv_info(t, pai_dnn_impl(op)), n_in, in,
		      n_out, out);
}

pai_status pai_conv_emit_dnn(pai_plan *p, const pai_conv_task *t, pai_dnn_op *op)
{
	pai_conv_task own = *t; /* with weights in the format of the primitive */
	if (t->d.kind != PAI_DNN_BACKWARD_WEIGHTS) {
		PAI_TRY(weights_for(p, op, t->weights, &own.weights));
		emit(p, &own, op);
		return PAI_OK;
	}
	pai_dnn_op *back;
	PAI_TRY(pai_dnn_weights_new(p, op, true, &back));
	if (back)
		own.weights = pai_slot_temp(p, pai_dnn_bytes(op, PAI_DNN_WEIGHTS));
	emit(p, &own, op);
	if (back)
		emit_reorder(p, back, own.weights, t->weights);
	return PAI_OK;
}
