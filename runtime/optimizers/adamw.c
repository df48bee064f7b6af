/* adamw.c -- Adam with decoupled weight decay (Loshchilov and Hutter, 2019): weights shrink by
 * 1 - lr * weight_decay before each step. Formula: adam.h. */
#include "runtime/optimizers/adam.h"

static void update(const pai_hyper *h, size_t n, float *p, const float *g, float *const *state)
{
	pai_adam_step(h, n, p, g, state, 0, 1 - h->lr * h->settings[PAI_ADAM_DECAY]);
}

static const pai_option options[] =
	PAI_ADAM_OPTIONS("0.01", "weights shrink by lr times this in each step");

const pai_optimizer pai_optimizer_adamw = {
	.name = "adamw",
	.summary = "Adam with decoupled weight decay",
	.options = options,
	.n_states = 2,
	.update = update,
};
