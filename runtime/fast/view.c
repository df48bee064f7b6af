/* view.c -- operators that give the same bytes another shape: no step at all where the result can
 * have the address of the operand, else a copy. */
#include "runtime/fast/fast.h"
#include <string.h>

typedef struct copy_step {
	const pai_tensor *from, *to;
} copy_step;

static pai_status run(void *args, pai_run *run)
{
	const copy_step *s = args;
	(void)run;
	pai_copy(s->to->data, s->from->data, s->to->nbytes);
	return PAI_OK;
}

void pai_emit_copy(pai_plan *p, pai_slot *from, pai_slot *to, const pai_node *node)
{
	copy_step *s = PAI_NEW(p->arena, copy_step);
	*s = (copy_step){&from->tensor, &to->tensor};
	pai_step_info info = {.node = node,
			      .name = node ? node->op_type : "copy",
			      .impl = "copy",
			      .bytes = 2.0 * (double)from->tensor.nbytes};
	pai_plan_emit(p, (pai_step){run, s}, info, 1, &from, 1, &to);
}

bool pai_slot_view(pai_slot *x, pai_slot *y)
{
	/* A gradient that is a bound value as it stands must not move with it. */
	bool moves = y->mover && x->root->place == PAI_IN_BOUND;
	if (x->place == PAI_IN_CONST || y->place != PAI_IN_ARENA || moves)
		return false;
	y->root = x->root;
	y->root->shared++;
	return true;
}

pai_status pai_fast_view(pai_plan *p, pai_unit *u, bool *taken)
{
	pai_slot *y = u->out[0], *x = u->in[0];
	for (int o = 1; o < u->n_out; o++)
		if (u->out[o] && (u->out[o]->readers || u->out[o]->place != PAI_IN_ARENA))
			return PAI_OK;
	if (!x || !y || x->place == PAI_IN_BUFFER || x->tensor.dtype != y->tensor.dtype ||
	    x->tensor.nbytes != y->tensor.nbytes || x->tensor.dtype == PAI_STRING)
		return PAI_OK;
	x = pai_slot_in(p, x, false);
	*taken = true;
	if (!pai_slot_view(x, y))
		pai_emit_copy(p, x, y, u->node);
	return PAI_OK;
}

/* What training adds is in the training mode's own outputs; without it Dropout changes nothing. */
pai_status pai_fast_dropout(pai_plan *p, pai_unit *u, bool *taken)
{
	const pai_slot *mode = u->n_in > 2 ? u->in[2] : NULL;
	const pai_tensor *t = pai_slot_constant(mode);
	if (u->node->op->since < 7 || (mode && !(t && t->data && !*(const uint8_t *)t->data)))
		return PAI_OK;
	return pai_fast_view(p, u, taken);
}
