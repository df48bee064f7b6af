/* t_stats.h -- what the transforms that scale by their own input need to know of it. */
#ifndef PAI_T_STATS_H
#define PAI_T_STATS_H

#include "runtime/runtime.h"

typedef struct pai_t_stats { /* of the elements counted; all 0 where there are none */
	float max_abs, min, max;
	float extreme; /* the first element of magnitude max_abs, preferring a positive one */
} pai_t_stats;

/* strict: as the reference does, any NaN makes every figure NaN. Otherwise only finite elements
 * count, so that the figures are finite. */
pai_t_stats pai_t_stats_of(int64_t n, const float *v, bool strict);

/* What the gradient of a transform does about its range; from attributes grad and compat. */
typedef enum pai_t_grad {
	PAI_T_STE,       /* the range is a constant; rounding has slope 1 */
	PAI_T_STE_RANGE, /* as STE, and the ends of the range are functions of the input */
	PAI_T_STE_CLIP,  /* as STE, and no gradient where the input lies outside the range */
} pai_t_grad;

typedef struct pai_t_mode { /* attributes that every transform has */
	bool rockpool;
	pai_t_grad grad;
} pai_t_mode;

PAI_MUST_USE pai_status pai_t_mode_of(pai_ctx *ctx, const pai_node *n, pai_t_mode *out);

/* The numbers that stand in for those a random transform would draw: input 1, one for each element
 * of input 0; NULL: there is none. */
PAI_MUST_USE pai_status pai_t_uniform(pai_call *c, const pai_tensor **out);

/* Adds share[e] to the gradient of each element equal to (magnitude: of magnitude) `value`, split
 * equally among them; with `magnitude` the sign of the element goes on top. */
void pai_t_give(int64_t n, const float *v, float value, bool magnitude, double share, float *dx);

#endif
