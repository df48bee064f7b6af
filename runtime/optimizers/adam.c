/* adam.c -- Adam (Kingma and Ba, 2015): weight_decay is added to the gradient. Formula: adam.h. */
#include "runtime/optimizers/adam.h"
#include "runtime/simd.h"
#include <math.h>

typedef struct factors {
	float l2, shrink, beta1, beta2, rest1, rest2; /* rest = 1 - beta */
	float step;                                   /* lr / (1 - beta1^t) */
	float root;                                   /* 1 / sqrt(1 - beta2^t) */
	float eps;
} factors;

PAI_CLONES static void step(size_t n, float *restrict p, const float *restrict g, float *restrict m,
			    float *restrict v, factors f)
{
	for (size_t i = 0; i < n; i++) {
		float d = g[i] + f.l2 * p[i];
		float mean = f.beta1 * m[i] + f.rest1 * d;
		float variance = f.beta2 * v[i] + f.rest2 * (d * d);
		m[i] = mean;
		v[i] = variance;
		p[i] = f.shrink * p[i] - f.step * (mean / (sqrtf(variance) * f.root + f.eps));
	}
}

void pai_adam_step(const pai_hyper *h, size_t n, float *p, const float *g, float *const *state,
		   double l2, double shrink)
{
	const double *s = h->settings, b1 = s[PAI_ADAM_BETA1], b2 = s[PAI_ADAM_BETA2];
	factors f = {
		.l2 = (float)l2,
		.shrink = (float)shrink,
		.beta1 = (float)b1,
		.beta2 = (float)b2,
		.rest1 = (float)(1 - b1),
		.rest2 = (float)(1 - b2),
		.step = (float)(h->lr / (1 - pow(b1, (double)h->t))),
		.root = (float)(1 / sqrt(1 - pow(b2, (double)h->t))),
		.eps = (float)s[PAI_ADAM_EPS],
	};
	step(n, p, g, state[0], state[1], f);
}

static void update(const pai_hyper *h, size_t n, float *p, const float *g, float *const *state)
{
	pai_adam_step(h, n, p, g, state, h->settings[PAI_ADAM_DECAY], 1);
}

static const pai_option options[] =
	PAI_ADAM_OPTIONS("0", "added to the gradient, times the weight");

const pai_optimizer pai_optimizer_adam = {
	.name = "adam",
	.summary = "Adam: steps scaled by running mean and variance of the gradient",
	.options = options,
	.n_states = 2,
	.update = update,
};
