/* adam.c -- Adam (Kingma and Ba, 2015): weight_decay is added to the gradient. Formula: adam.h. */
#include "runtime/optimizers/adam.h"
#include "runtime/simd.h"
#include <math.h>

enum {
	L2,
	SHRINK,
	REST1, /* 1 - beta */
	REST2,
	STEP, /* lr / (1 - beta1^t) * sqrt(1 - beta2^t) */
	EPS,  /* eps * sqrt(1 - beta2^t) */
};

/* decays: the weights themselves come in. */
static inline __attribute__((always_inline)) bool step(size_t n, float scale,
						       const float *restrict g, float *restrict p,
						       float *restrict m, float *restrict v,
						       pai_factors f, bool decays)
{
	uint32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		float d = scale * g[i];
		if (decays)
			d += f.at[L2] * p[i];
		float mean = m[i] + f.at[REST1] * (d - m[i]);
		float variance = v[i] + f.at[REST2] * (d * d - v[i]);
		m[i] = mean;
		v[i] = variance;
		float by = f.at[STEP] * (mean / (sqrtf(variance) + f.at[EPS]));
		float to = (decays ? f.at[SHRINK] * p[i] : p[i]) - by;
		p[i] = to;
		most = pai_larger(most, pai_magnitude(to));
	}
	return most < PAI_INFINITE;
}

PAI_CLONES static bool plain(size_t n, float scale, const float *g, float *p, float *m, float *v,
			     pai_factors f)
{
	return step(n, scale, g, p, m, v, f, false);
}

PAI_CLONES static bool decaying(size_t n, float scale, const float *g, float *p, float *m, float *v,
				pai_factors f)
{
	return step(n, scale, g, p, m, v, f, true);
}

pai_factors pai_adam_prepare(const pai_hyper *h, double l2, double shrink)
{
	const double *s = h->settings, b1 = s[PAI_ADAM_BETA1], b2 = s[PAI_ADAM_BETA2];
	double root = sqrt(1 - pow(b2, (double)h->t));
	return (pai_factors){{
		[L2] = (float)l2,
		[SHRINK] = (float)shrink,
		[REST1] = (float)(1 - b1),
		[REST2] = (float)(1 - b2),
		[STEP] = (float)(h->lr / (1 - pow(b1, (double)h->t)) * root),
		[EPS] = (float)(s[PAI_ADAM_EPS] * root),
	}};
}

bool pai_adam_step(const pai_factors *f, size_t n, float scale, const float *g, float *p,
		   float *const *state)
{
	bool decays = f->at[L2] != 0 || f->at[SHRINK] != 1;
	return (decays ? decaying : plain)(n, scale, g, p, state[0], state[1], *f);
}

static pai_factors prepare(const pai_hyper *h)
{
	return pai_adam_prepare(h, h->settings[PAI_ADAM_DECAY], 1);
}

static const pai_option options[] =
	PAI_ADAM_OPTIONS("0", "added to the gradient, times the weight");

const pai_optimizer pai_optimizer_adam = {
	.name = "adam",
	.summary = "Adam: steps scaled by running mean and variance of the gradient",
	.options = options,
	.n_states = 2,
	.prepare = prepare,
	.update = pai_adam_step,
};
