/* adam.c -- Adam (Kingma and Ba, 2015): weight_decay is added to the gradient. Formula: adam.h. */
#include "runtime/optimizers/adam.h"
#include "runtime/simd.h"
#include <math.h>

enum {
	L2,
	SHRINK,
	REST1, /* 1 - beta */
	REST2,
	KEEP1, /* beta */
	KEEP2,
	STEP, /* lr / (1 - beta1^t) * sqrt(1 - beta2^t) */
	EPS,  /* eps * sqrt(1 - beta2^t) */
};

/* keep * old + rest * now, from the side that counts more: a difference to the other would swallow
 * a number that is much smaller than the one it was taken from. */
static inline __attribute__((always_inline)) float mix(float old, float now, float keep, float rest,
						       bool forgets)
{
	return forgets ? now + keep * (old - now) : old + rest * (now - old);
}

/* decays: the weights themselves come in. forgets: the memory of the mean and of the variance may
 * be short. */
static inline __attribute__((always_inline)) bool step(size_t n, float scale,
						       const float *restrict g, float *restrict p,
						       float *restrict m, float *restrict v,
						       pai_factors f, bool decays, bool forgets)
{
	const bool forgets1 = forgets && f.at[REST1] > f.at[KEEP1];
	const bool forgets2 = forgets && f.at[REST2] > f.at[KEEP2];
	uint32_t most = 0;
	for (size_t i = 0; i < n; i++) {
		float d = scale * g[i];
		if (decays)
			d += f.at[L2] * p[i];
		float mean = mix(m[i], d, f.at[KEEP1], f.at[REST1], forgets1);
		float variance = mix(v[i], d * d, f.at[KEEP2], f.at[REST2], forgets2);
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
	return step(n, scale, g, p, m, v, f, false, false);
}

PAI_CLONES static bool decaying(size_t n, float scale, const float *g, float *p, float *m, float *v,
				pai_factors f)
{
	return step(n, scale, g, p, m, v, f, true, false);
}

PAI_CLONES static bool forgetting(size_t n, float scale, const float *g, float *p, float *m,
				  float *v, pai_factors f)
{
	return step(n, scale, g, p, m, v, f, true, true);
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
		[KEEP1] = (float)b1,
		[KEEP2] = (float)b2,
		[STEP] = (float)(h->lr / (1 - pow(b1, (double)h->t)) * root),
		[EPS] = (float)(s[PAI_ADAM_EPS] * root),
	}};
}

bool pai_adam_step(const pai_factors *f, size_t n, float scale, const float *g, float *p,
		   float *const *state)
{
	bool decays = f->at[L2] != 0 || f->at[SHRINK] != 1;
	bool forgets = f->at[REST1] > f->at[KEEP1] || f->at[REST2] > f->at[KEEP2];
	return (forgets  ? forgetting
		: decays ? decaying
			 : plain)(n, scale, g, p, state[0], state[1], *f);
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
