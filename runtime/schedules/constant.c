/* constant.c -- the learning rate stays: f = 1 */
#include "runtime/runtime.h"

static const pai_option options[] = {PAI_WARMUP, {.name = NULL}};

static double factor(const double *settings, const pai_moment *at)
{
	(void)settings, (void)at;
	return 1;
}

const pai_schedule pai_schedule_constant = {
	.name = "constant",
	.summary = "the learning rate stays",
	.options = options,
	.factor = factor,
};
