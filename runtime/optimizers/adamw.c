/* adamw.c -- Adam with decoupled weight decay (Loshchilov and Hutter, 2019): weights shrink by
 * 1 - lr * weight_decay before each step. Formula: adam.h. */
#include "runtime/optimizers/adam.h"

static pai_factors prepare(const pai_hyper *h)
{
	return pai_adam_prepare(h, 0, 1 - h->lr * h->settings[PAI_ADAM_DECAY]);
}

static const pai_option options[] =
	PAI_ADAM_OPTIONS("0.01", "weights shrink by lr times this in each step");

const pai_optimizer pai_optimizer_adamw = {
	.name = "adamw",
	.summary = "Adam with decoupled weight decay",
	.options = options,
	.n_states = 2,
	.prepare = prepare,
	.update = pai_adam_step,
};
