/* linear.c -- a straight line from 1 to end:  f = 1 + (end - 1) t / T */
#include "runtime/schedules/end.h"

static double factor(const double *settings, const pai_moment *at)
{
	return 1 + (settings[PAI_END] - 1) * (double)at->step / (double)at->steps;
}

const pai_schedule pai_schedule_linear = {
	.name = "linear",
	.summary = "a straight line from the learning rate down to its end",
	.options = pai_end_options,
	.factor = factor,
};
